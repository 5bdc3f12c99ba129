//! Where a request comes from, and where its peer is reached: what the connection says, unless somebody trusted says otherwise (R35).

use std::net::{IpAddr, SocketAddr};

use crate::base::endpoint;

/// The address of the client: of the connection, or, if that is a trusted proxy's, the last in `X-Forwarded-For` that is none.
pub(super) fn client(from: IpAddr, forwarded: &[&[u8]], trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = from;
    let hops = forwarded
        .iter()
        .rev()
        .flat_map(|value| value.rsplit(|&b| b == b','));
    for hop in hops {
        if !trusts(client) {
            break;
        }
        // What cannot be read was written by somebody whom the trusted one could not read either.
        let Some(before) = read(hop) else {
            break;
        };
        client = before;
    }
    client
}

/// Where the peer is reached: at the address that it names, if its client is trusted, or sits on this host and was not sent by a proxy. What is the
/// address of no host is not meant.
pub(super) fn peer(
    client: IpAddr,
    named: Option<IpAddr>,
    forwarded: bool,
    trusts: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    match named {
        Some(named)
            if (trusts(client) || (client.is_loopback() && !forwarded))
                && endpoint::is_dialable(SocketAddr::new(named, 1)) =>
        {
            named.to_canonical()
        }
        _ => client,
    }
}

/// An address, perhaps with a port, as proxies write it.
fn read(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let ip = bare
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|addr| addr.ip()))?;
    Some(IpAddr::to_canonical(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusts(ip: IpAddr) -> bool {
        ip.to_string().starts_with("10.")
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_as_far_as_it_knows() {
        for (from, forwarded, expected) in [
            ("1.1.1.1", vec!["2.2.2.2"], "1.1.1.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["2.2.2.2"], "2.2.2.2"),
            ("10.0.0.1", vec!["3.3.3.3, 2.2.2.2"], "2.2.2.2"),
            ("10.0.0.1", vec!["3.3.3.3", "2.2.2.2 , 10.0.0.2"], "2.2.2.2"),
            ("10.0.0.1", vec!["10.0.0.3,10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", vec!["2.2.2.2, unknown"], "10.0.0.1"),
            ("10.0.0.1", vec!["2.2.2.2:4711"], "2.2.2.2"),
            ("10.0.0.1", vec!["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", vec!["[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1", vec!["::ffff:2.2.2.2"], "2.2.2.2"),
        ] {
            let values: Vec<_> = forwarded.iter().map(|v| v.as_bytes()).collect();
            assert_eq!(
                client(ip(from), &values, trusts),
                ip(expected),
                "{from} {forwarded:?}"
            );
        }
    }

    #[test]
    fn an_address_that_a_peer_names_counts_only_from_trusted_ones() {
        let named = Some(ip("5.5.5.5"));
        assert_eq!(peer(ip("1.1.1.1"), named, false, trusts), ip("1.1.1.1"));
        assert_eq!(peer(ip("10.0.0.1"), named, true, trusts), ip("5.5.5.5"));
        assert_eq!(peer(ip("10.0.0.1"), None, false, trusts), ip("10.0.0.1"));
        assert_eq!(peer(ip("127.0.0.1"), named, false, trusts), ip("5.5.5.5"));
        for nobody in ["0.0.0.0", "::", "224.0.0.1", "255.255.255.255"] {
            let named = Some(ip(nobody));
            assert_eq!(peer(ip("10.0.0.1"), named, false, trusts), ip("10.0.0.1"));
        }
        assert_eq!(
            peer(ip("::1"), named, true, trusts),
            ip("::1"),
            "a proxy on this host that is not declared"
        );
    }
}
