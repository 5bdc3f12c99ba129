use super::*;
use crate::app::tracker::service::Statistics;
use crate::base::id::InfoHash;
use crate::core::tracker::Totals;
use crate::proto::tracker::SwarmStats;

fn view(n: u8, leechers: u32, seeders: u32) -> SwarmView {
    let peers: Vec<_> = (0..leechers.min(EXTENT.each as u32))
        .map(|i| PeerView {
            addr: std::net::SocketAddr::from(([10, 9, 8, 7], 6000 + i as u16)),
            percent: (i % 100) as u8,
            silent: i,
        })
        .collect();
    SwarmView {
        hash: InfoHash([n; 20]),
        stats: SwarmStats {
            complete: seeders,
            downloaded: 7,
            incomplete: leechers,
        },
        age: 60,
        progress: peers.iter().map(|peer| peer.percent).collect(),
        tenths: [leechers, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        peers,
        rate: Some(3 << 20),
        remaining: Some(75),
    }
}

fn overview(swarms: Vec<Shown>) -> Overview {
    Overview {
        now: Statistics {
            uptime: Duration::from_secs(3723),
            totals: Totals {
                swarms: 10_000,
                seeders: 1,
                leechers: 12_345,
                completed: 7,
            },
            announces: 1,
            scrapes: 0,
            errors: 0,
            dht: None,
        },
        omitted: 10_000 - swarms.len() as u64,
        swarms,
    }
}

fn shown(view: SwarmView, name: &str) -> Shown {
    Shown {
        view,
        name: Some(name.into()),
    }
}

#[test]
fn a_hostile_name_stays_a_name() {
    let evil = "<script>alert(1)</script>\0\x1b\"'{title}{main}";
    let page = render(&overview(vec![shown(view(1, 2, 0), evil)]), true);
    assert_eq!(page.matches("<script").count(), 1, "our own");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;��&quot;&#39;{title}{main}"));
    assert_eq!(page.matches("<main>").count(), 1);
}

#[test]
fn addresses_are_for_the_operator_alone() {
    let all = overview(vec![shown(view(1, 3, 1), "task")]);
    let (told, untold) = (render(&all, true), render(&all, false));
    assert!(told.contains("10.9.8.7:6002"));
    assert!(!untold.contains("10.9.8.7") && untold.contains(">3</th>"));
}

#[test]
fn a_page_of_the_largest_tracker_is_below_a_megabyte() {
    let swarms = (0..100).map(|n| shown(view(n, 20, 20), &"<".repeat(1000)));
    let page = render(&overview(swarms.collect()), true);
    assert!(page.len() < 1 << 20, "{}", page.len());
    assert!(page.contains("and 9,900 more torrents"));
    let page = render(&overview(vec![shown(view(1, 10_000, 0), "one")]), true);
    assert!(page.contains("and 9,900 more, who are ahead of these"));
    assert!(
        page.contains("10,000 at 0 to 9 %, 1 at 30 to 39 %"),
        "{page}"
    );
}

#[test]
fn what_is_known_of_the_end_is_told() {
    let mut one = view(1, 2, 1);
    let told = |view: &SwarmView| render(&overview(vec![shown(view.clone(), "t")]), false);
    assert!(told(&one).contains("all done in about 1:15"));
    assert!(told(&one).contains("<dd>1:15</dd>"));
    one.remaining = None;
    assert!(told(&one).contains("no estimate yet") && told(&one).contains("<dd>?</dd>"));
    one.stats.complete = 0;
    assert!(told(&one).contains("nobody has all of it"));
    let empty = render(&overview(Vec::new()), false);
    assert!(empty.contains("No torrents yet"));
}
