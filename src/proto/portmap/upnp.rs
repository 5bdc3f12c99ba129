//! UPnP Internet Gateway Device, as far as a port mapping goes: the search (UPnP Device Architecture 1.1, 1.3), the device's description (2.3), and
//! the actions of WANIPConnection and WANPPPConnection (SOAP 1.1).
//!
//! The search goes to the gateway alone, which 1.1 of the architecture allows, and never to the multicast group: nobody else is to know.

use std::net::{IpAddr, Ipv4Addr};

use super::{Refusal, sane, xml};
use crate::proto::url;

/// Where devices listen for searches.
pub const PORT: u16 = 1900;

/// Bytes of a description or an answer at most.
pub const MAX_DOCUMENT: u64 = 256 << 10;

/// The services that map ports, the ones with leases first.
const SERVICES: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

/// Error: the port outside leads to another host already (WANIPConnection:1, 2.4.16).
pub const CONFLICT: u16 = 718;

/// Error: only mappings without an end are known (WANIPConnection:1, 2.4.16).
pub const ONLY_PERMANENT: u16 = 725;

/// What a gateway is asked with; it answers with where its description is.
#[must_use]
pub fn search(gateway: Ipv4Addr) -> String {
    format!(
        "M-SEARCH * HTTP/1.1\r\nHOST: {gateway}:{PORT}\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"
    )
}

/// Where a description is, as the answer to a search says; only if that is at the gateway itself.
#[must_use]
pub fn location(answer: &[u8], gateway: Ipv4Addr) -> Option<String> {
    let answer = std::str::from_utf8(answer).ok()?;
    let mut lines = answer.split("\r\n");
    let status = lines.next()?;
    if !status.starts_with("HTTP/1.") || status.split(' ').nth(1) != Some("200") {
        return None;
    }
    let headers = lines.take_while(|line| !line.is_empty());
    let mut named = headers.filter_map(|line| line.split_once(':'));
    let (_, location) = named.find(|(name, _)| name.eq_ignore_ascii_case("location"))?;
    let location = location.trim();
    is_at(location, gateway).then(|| location.to_owned())
}

/// Whether a URL leads to the gateway, by its address, without a name that could mean anything.
fn is_at(url: &str, gateway: Ipv4Addr) -> bool {
    let there = |target: url::Target| target.host.parse() == Ok(IpAddr::V4(gateway));
    url.starts_with("http://") && !url.contains('@') && url::web(url).is_ok_and(there)
}

/// A service that maps ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its type, as in [`SERVICES`].
    kind: &'static str,
    /// Where it takes actions.
    pub control: String,
}

impl Service {
    /// Finds it in a description that was fetched from `location`. `None` if there is none, or it is not at the gateway.
    #[must_use]
    pub fn find(description: &[u8], location: &str, gateway: Ipv4Addr) -> Option<Self> {
        let leaves = xml::leaves(std::str::from_utf8(description).ok()?)?;
        let base = leaves.iter().find(|leaf| leaf.name == "URLBase");
        let base = base.map_or(location, |leaf| leaf.text.as_str());
        let base = if base.is_empty() { location } else { base };
        SERVICES.into_iter().find_map(|kind| {
            let is_one = |leaf: &&xml::Leaf<'_>| leaf.name == "serviceType" && leaf.text == kind;
            let service = leaves.iter().find(is_one)?;
            let mut beside = leaves.iter().filter(|leaf| leaf.within == service.within);
            let control = beside.find(|leaf| leaf.name == "controlURL")?;
            let control = url::join(base, &control.text)?;
            is_at(&control, gateway).then_some(Self { kind, control })
        })
    }

    /// The `SOAPAction` header and the body of a request.
    fn request(&self, action: &str, arguments: &str) -> (String, String) {
        let kind = self.kind;
        (
            format!("\"{kind}#{action}\""),
            format!(
                "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:{action} xmlns:u=\"{kind}\">{arguments}</u:{action}></s:Body></s:Envelope>\r\n"
            ),
        )
    }

    /// Asks for a mapping of the TCP port `external` to `port` of `client` for so many seconds, 0 for good.
    #[must_use]
    pub fn add(&self, client: Ipv4Addr, port: u16, external: u16, secs: u32) -> (String, String) {
        let arguments = format!(
            "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort><NewProtocol>TCP</NewProtocol><NewInternalPort>{port}</NewInternalPort><NewInternalClient>{client}</NewInternalClient><NewEnabled>1</NewEnabled><NewPortMappingDescription>hivebt</NewPortMappingDescription><NewLeaseDuration>{secs}</NewLeaseDuration>"
        );
        self.request("AddPortMapping", &arguments)
    }

    /// Ends a mapping.
    #[must_use]
    pub fn delete(&self, external: u16) -> (String, String) {
        let arguments = format!(
            "<NewRemoteHost></NewRemoteHost><NewExternalPort>{external}</NewExternalPort><NewProtocol>TCP</NewProtocol>"
        );
        self.request("DeletePortMapping", &arguments)
    }

    /// Asks for the external address.
    #[must_use]
    pub fn ask_address(&self) -> (String, String) {
        self.request("GetExternalIPAddress", "")
    }
}

/// Whether an action was done.
///
/// # Errors
/// What the gateway says instead.
pub fn done(status: u16, body: &[u8]) -> Result<(), Refusal> {
    if status == 200 {
        return Ok(());
    }
    let code = leaf(body, "errorCode").and_then(|code| code.parse().ok());
    Err(code.map_or(Refusal::Nonsense, Refusal::Code))
}

/// The external address, as an answer to [`Service::ask_address`] tells.
#[must_use]
pub fn read_address(status: u16, body: &[u8]) -> Option<Ipv4Addr> {
    done(status, body).ok()?;
    leaf(body, "NewExternalIPAddress")?
        .parse()
        .ok()
        .and_then(sane)
}

fn leaf(body: &[u8], name: &str) -> Option<String> {
    let leaves = xml::leaves(std::str::from_utf8(body).ok()?)?;
    let found = leaves.into_iter().find(|leaf| leaf.name == name);
    found.map(|leaf| leaf.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
    const AT: &str = "http://192.168.1.1:5000/rootDesc.xml";
    const DESCRIPTION: &str = "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device><serviceList><service><serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType><controlURL>/ctl/Cmn</controlURL></service><service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><serviceId>x</serviceId><controlURL>/ctl/IPConn?a=1&amp;b</controlURL></service></serviceList></device></root>";

    fn found(answer: &str) -> Option<String> {
        location(answer.as_bytes(), GATEWAY)
    }

    #[test]
    fn only_the_gateway_itself_can_say_where_it_describes_itself() {
        let good = format!("HTTP/1.1 200 OK\r\nST: x\r\nLocation: {AT}\r\n\r\n");
        assert_eq!(found(&good).as_deref(), Some(AT));
        for bad in [
            "http://192.168.1.2:5000/x",
            "http://router/x",
            "https://192.168.1.1/x",
            "http://192.168.1.1@10.0.0.1/x",
            "http://u@192.168.1.1/x",
            "http://[::ffff:192.168.1.1]/x",
            "file:///etc/passwd",
            "",
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\nLOCATION: {bad}\r\n\r\n");
            assert_eq!(found(&answer), None, "{bad}");
        }
        assert_eq!(
            found("HTTP/1.1 404 No\r\nLocation: http://192.168.1.1/\r\n\r\n"),
            None
        );
        assert_eq!(
            found("NOTIFY * HTTP/1.1\r\nLocation: http://192.168.1.1/\r\n\r\n"),
            None
        );
        assert!(search(GATEWAY).starts_with("M-SEARCH * HTTP/1.1\r\nHOST: 192.168.1.1:1900\r\n"));
    }

    #[test]
    fn the_service_is_found_in_the_description_and_only_at_the_gateway() {
        let find = |text: &str| Service::find(text.as_bytes(), AT, GATEWAY);
        let service = find(DESCRIPTION).unwrap();
        assert_eq!(service.control, "http://192.168.1.1:5000/ctl/IPConn?a=1&b");
        let base = DESCRIPTION.replace(
            "<device>",
            "<URLBase>http://192.168.1.1:99/a/</URLBase><device>",
        );
        assert_eq!(
            find(&base).unwrap().control,
            "http://192.168.1.1:99/ctl/IPConn?a=1&b"
        );
        for elsewhere in ["http://10.0.0.1/ctl", "//10.0.0.1/ctl"] {
            let text = DESCRIPTION.replace("/ctl/IPConn?a=1&amp;b", elsewhere);
            assert_eq!(find(&text), None, "{elsewhere}");
        }
        let base = base.replace("192.168.1.1:99", "10.0.0.1");
        assert_eq!(find(&base), None);
        assert_eq!(find(&DESCRIPTION.replace("WANIPConnection", "Other")), None);
        let (action, body) = service.add(Ipv4Addr::new(192, 168, 1, 7), 6881, 6882, 60);
        assert_eq!(
            action,
            "\"urn:schemas-upnp-org:service:WANIPConnection:1#AddPortMapping\""
        );
        assert!(body.contains("<NewInternalClient>192.168.1.7</NewInternalClient>"));
        assert!(xml::leaves(&body).is_some() && xml::leaves(&service.delete(1).1).is_some());
    }

    #[test]
    fn answers_are_understood() {
        let fault = "<s:Envelope xmlns:s=\"x\"><s:Body><s:Fault><detail><UPnPError><errorCode>725</errorCode></UPnPError></detail></s:Fault></s:Body></s:Envelope>";
        assert_eq!(
            done(500, fault.as_bytes()),
            Err(Refusal::Code(ONLY_PERMANENT))
        );
        assert_eq!(done(500, b"<html>"), Err(Refusal::Nonsense));
        assert_eq!(done(200, b""), Ok(()));
        let told = |ip: &str| {
            let body = format!("<a><NewExternalIPAddress>{ip}</NewExternalIPAddress></a>");
            read_address(200, body.as_bytes())
        };
        assert_eq!(told("203.0.113.5"), Some(Ipv4Addr::new(203, 0, 113, 5)));
        assert_eq!((told("0.0.0.0"), told("x"), told("")), (None, None, None));
    }

    #[test]
    fn a_description_cut_or_changed_anywhere_is_read_or_refused() {
        for at in 0..DESCRIPTION.len() {
            assert_eq!(
                Service::find(&DESCRIPTION.as_bytes()[..at], AT, GATEWAY),
                None
            );
            for byte in [0, b'<', b'>', b'/', b'&', b'"', b'x', 0xff] {
                let mut text = DESCRIPTION.as_bytes().to_vec();
                text[at] = byte;
                if let Some(service) = Service::find(&text, AT, GATEWAY) {
                    assert!(is_at(&service.control, GATEWAY), "{}", service.control);
                }
            }
        }
        let answer = format!("HTTP/1.1 200 OK\r\nLocation: {AT}\r\n\r\n");
        for at in 0..answer.len() {
            for byte in 0..=255 {
                let mut bytes = answer.clone().into_bytes();
                bytes[at] = byte;
                if let Some(url) = location(&bytes, GATEWAY) {
                    assert!(is_at(&url, GATEWAY), "{url}");
                }
            }
        }
    }
}
