//! Which addresses are near each other: zones that the operator names (R52).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::base::cidr::{BadCidr, Cidr};

/// A line of a file of zones that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadZones {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub cause: BadZone,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadZone {
    /// Its first word is no block of addresses.
    Block(String, BadCidr),
    /// It names a block and no zone.
    Nameless(Cidr),
    /// There is more after the zone.
    Extra(String),
    /// The block has been put into another zone by an earlier line.
    Twice(Cidr),
    /// There are more zones than there may be.
    TooMany,
}

impl fmt::Display for BadZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(word, cause) => write!(f, "`{word}`: {cause}"),
            Self::Nameless(block) => write!(f, "no zone after {block}"),
            Self::Extra(word) => write!(f, "`{word}` is too much; a line is a block and its zone"),
            Self::Twice(block) => write!(f, "{block} is in another zone already"),
            Self::TooMany => write!(f, "more than {MOST} zones"),
        }
    }
}

impl fmt::Display for BadZones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.cause)
    }
}

impl std::error::Error for BadZones {}

/// Most zones.
const MOST: usize = 65_535;

/// The number of a zone; numbers mean nothing else.
pub(super) type Zone = u16;

/// Blocks of addresses, and the zones that they lie in. Without any, nothing is in a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones {
    /// Where a stretch of addresses begins, and in which zone it lies; each reaches to the next one. IPv4 and IPv6 apart.
    v4: Vec<(u128, Option<Zone>)>,
    v6: Vec<(u128, Option<Zone>)>,
}

impl Zones {
    /// Reads lines of a block of addresses and the name of a zone, such as `10.1.0.0/16 rack-1`. Empty lines, and what begins with `#`, are comments.
    /// Of blocks that lie in each other the smaller one counts.
    ///
    /// # Errors
    /// The first line that makes no sense.
    pub fn read(text: &str) -> Result<Self, BadZones> {
        let mut names = BTreeMap::new();
        let mut blocks = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let bad = |cause| BadZones { line, cause };
            let mut words = text.split_whitespace().take_while(|w| !w.starts_with('#'));
            let Some(word) = words.next() else {
                continue;
            };
            let block: Cidr = word
                .parse()
                .map_err(|cause| bad(BadZone::Block(word.to_owned(), cause)))?;
            let name = words.next().ok_or(bad(BadZone::Nameless(block)))?;
            if let Some(extra) = words.next() {
                return Err(bad(BadZone::Extra(extra.to_owned())));
            }
            let next = names.len();
            let zone = *names.entry(name).or_insert(next);
            let zone = Zone::try_from(zone).ok().filter(|&z| usize::from(z) < MOST);
            let zone = zone.ok_or(bad(BadZone::TooMany))?;
            blocks.push((line, block, zone));
        }
        Ok(Self {
            v4: flatten(&blocks, false)?,
            v6: flatten(&blocks, true)?,
        })
    }

    /// The zone of an address.
    pub(super) fn of(&self, ip: IpAddr) -> Option<Zone> {
        let (stretches, number) = match ip {
            IpAddr::V4(ip) => (&self.v4, ip.to_bits().into()),
            IpAddr::V6(ip) => (&self.v6, ip.to_bits()),
        };
        let after = stretches.partition_point(|&(start, _)| start <= number);
        stretches.get(after.checked_sub(1)?)?.1
    }
}

/// Cuts blocks, which may lie in each other, into stretches that do not.
fn flatten(
    blocks: &[(usize, Cidr, Zone)],
    v6: bool,
) -> Result<Vec<(u128, Option<Zone>)>, BadZones> {
    let of_family = blocks.iter().filter(|(_, block, _)| block.is_v6() == v6);
    let mut sorted: Vec<_> = of_family
        .map(|&(line, block, zone)| (block.range(), line, block, zone))
        .collect();
    // A block comes before those inside it.
    sorted.sort_by_key(|&((first, last), line, ..)| (first, std::cmp::Reverse(last), line));
    let mut stretches = Vec::new();
    // Blocks that are not over yet, the innermost last, each with its last address.
    let mut open: Vec<(u128, Option<Zone>)> = Vec::new();
    let mut previous = None;
    for ((first, last), line, block, zone) in sorted {
        if let Some((range, other)) = previous.replace(((first, last), zone))
            && range == (first, last)
        {
            if other == zone {
                continue;
            }
            let cause = BadZone::Twice(block);
            return Err(BadZones { line, cause });
        }
        close(&mut open, &mut stretches, |end| end < first);
        stretches.push((first, Some(zone)));
        open.push((last, Some(zone)));
    }
    close(&mut open, &mut stretches, |_| true);
    // Of stretches that begin at the same address the latter is the inner one, or what follows.
    let mut flat: Vec<(u128, Option<Zone>)> = Vec::with_capacity(stretches.len());
    for stretch in stretches {
        match flat.last_mut() {
            Some(last) if last.0 == stretch.0 => *last = stretch,
            _ => flat.push(stretch),
        }
    }
    Ok(flat)
}

/// Ends the innermost blocks while they are `over`; what follows belongs to the one around.
fn close(
    open: &mut Vec<(u128, Option<Zone>)>,
    stretches: &mut Vec<(u128, Option<Zone>)>,
    over: impl Fn(u128) -> bool,
) {
    while let Some(&(end, _)) = open.last().filter(|&&(end, _)| over(end)) {
        open.pop();
        if let Some(next) = end.checked_add(1) {
            stretches.push((next, open.last().and_then(|&(_, zone)| zone)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(text: &str) -> Zones {
        Zones::read(text).unwrap()
    }

    #[test]
    fn the_smallest_block_around_an_address_counts() {
        let zones = zones(
            "# the halls\n10.0.0.0/8 east\n10.1.0.0/16 west # moved\n\n10.1.7.0/24 east\n10.1.255.255 lab\n\
             2001:db8::/32 west\n255.255.255.255 end\n0.0.0.0/32 start\n",
        );
        let of = |ip: &str| zones.of(ip.parse().unwrap());
        let (east, west) = (of("10.0.0.1"), of("10.1.0.1"));
        assert!(east.is_some() && west.is_some() && east != west);
        assert_eq!(of("10.1.7.9"), east);
        assert_eq!(of("10.1.8.0"), west);
        assert_eq!(of("10.2.0.0"), east);
        assert_eq!(of("10.1.255.254"), west);
        assert!(![east, west, None].contains(&of("10.1.255.255")));
        assert_eq!(of("2001:db8:1::9"), west);
        assert!(of("255.255.255.255").is_some() && of("0.0.0.0").is_some());
        for nowhere in ["9.255.255.255", "11.0.0.0", "0.0.0.1", "::", "2001:db9::"] {
            assert_eq!(of(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn stretches_agree_with_a_look_at_every_block() {
        let mut rng = fastrand::Rng::with_seed(9);
        for _ in 0..300 {
            let mut blocks = BTreeMap::new();
            for _ in 0..rng.usize(..12) {
                let (bits, ip) = (rng.u32(24..=32), rng.u32(..256));
                let ip = if bits == 32 {
                    ip
                } else {
                    ip >> (32 - bits) << (32 - bits)
                };
                blocks.insert((bits, ip), rng.u8(..4));
            }
            let text: String = blocks
                .iter()
                .map(|((bits, ip), zone)| format!("0.0.0.{ip}/{bits} z{zone}\n"))
                .collect();
            let zones = zones(&text);
            let mut numbers = BTreeMap::new();
            for ip in 0..256_u32 {
                let inner = blocks.iter().rev().find(|((bits, start), _)| {
                    (ip ^ start).checked_shr(32 - bits).unwrap_or(0) == 0
                });
                let found = zones.of(IpAddr::from([0, 0, 0, ip as u8]));
                let expected = inner.map(|(_, name)| *name);
                assert_eq!(
                    *numbers.entry(expected).or_insert(found),
                    found,
                    "{text}{ip}"
                );
                assert_eq!(expected.is_none(), found.is_none());
            }
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_told_by_its_number() {
        for (text, line, said) in [
            ("\n10.0.0/8 a", 2, "`10.0.0/8`: not a block"),
            ("10.0.0.0/8", 1, "no zone after 10.0.0.0/8"),
            ("10.0.0.0/8 # a", 1, "no zone after"),
            ("10.0.0.0/8 a b", 1, "`b` is too much"),
            (
                "10.0.0.0/8 a\n10.0.0.0/8 a\n10.0.0.0/8 b",
                3,
                "another zone",
            ),
        ] {
            let bad = Zones::read(text).unwrap_err();
            assert_eq!(bad.line, line, "{text}");
            assert!(bad.to_string().contains(said), "{bad}");
        }
    }

    #[test]
    fn without_lines_nothing_is_in_a_zone() {
        assert_eq!(zones("").of([10, 0, 0, 1].into()), None);
    }
}
