//! The default gateway, as the kernel lists it.

use std::net::Ipv4Addr;

/// Flags of a route: it is up, and it leads over a gateway.
const USABLE: u32 = 0x1 | 0x2;

/// The default gateway of IPv4, on this interface if one is named. `None` if there is none, or the system does not tell.
#[must_use]
pub fn default_gateway(interface: Option<&str>) -> Option<Ipv4Addr> {
    let table = std::fs::read_to_string("/proc/net/route").ok()?;
    find(&table, interface)
}

/// Of several default routes, the kernel uses the one with the lowest metric. In the table, numbers are hexadecimal and addresses are as they lie in memory.
fn find(table: &str, interface: Option<&str>) -> Option<Ipv4Addr> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let name = fields.next()?;
        let to = fields.next()?;
        let gateway = u32::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u32::from_str_radix(fields.next()?, 16).ok()?;
        let metric: u32 = fields.nth(2)?.parse().ok()?;
        let mask = fields.next()?;
        let is_default = to == "00000000" && mask == "00000000" && flags & USABLE == USABLE;
        let fits = is_default && gateway != 0 && interface.is_none_or(|wanted| wanted == name);
        fits.then_some((metric, Ipv4Addr::from(gateway.to_ne_bytes())))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, ip)| ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth1\t00000000\t0200000A\t0002\t0\t0\t1\t00000000\t0\t0\t0\n\
        tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth0\t0000000A\t0300000A\t0003\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn the_default_route_with_the_lowest_metric_counts() {
        assert_eq!(find(TABLE, None), Some(Ipv4Addr::new(10, 0, 0, 1)));
        let wlan = find(TABLE, Some("wlan0"));
        assert_eq!(wlan, Some(Ipv4Addr::new(192, 168, 1, 1)));
        for none in ["eth1", "tun0", "eth9"] {
            assert_eq!(find(TABLE, Some(none)), None, "{none}");
        }
    }

    #[test]
    fn a_table_cut_anywhere_is_read_as_far_as_it_goes() {
        for at in 0..TABLE.len() {
            let _ = find(&TABLE[..at], None);
        }
    }
}
