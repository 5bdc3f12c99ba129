//! Web seeds (BEP 19): a thread for each, which turns what the swarm asks of it into requests for ranges of files, and the answers into blocks.
//!
//! To the swarm a web seed is a peer that has everything (see [`crate::core::swarm`]). One connection is used for each, kept as long as the
//! server keeps it.

mod reader;
mod torrent;
mod wishes;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use crate::base::filemap::FileMap;
use crate::base::geometry::Block;
use crate::core::swarm::event::{Close, PeerKey};
use crate::core::web_seed::Failures;
use crate::net::http_client::ranges::Ranges;
use crate::net::tcp::Bind;
use crate::proto::peer::message::Message;
use crate::proto::url;
use crate::proto::web_seed::{Base, Fault};

use super::threads;
use super::torrent::{Happening, Torrent};

use reader::{Reader, Readings, Trouble};
pub use wishes::Wishes;
use wishes::Work;

/// Web seeds that are used of one torrent. A torrent can name any number; each costs a thread and a connection here, and requests there.
pub const MOST: usize = 8;

/// How long a server may be silent, and how long it may take for a block.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which web seeds a torrent uses.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Those that the operator has named.
    pub named: Vec<String>,
    /// Those that the torrent names are left alone.
    pub no_others: bool,
}

/// Begins to use the web seeds of a torrent, those that the operator has named first.
pub fn start(torrent: &Arc<Torrent>, choice: &Choice, bind: &Bind) {
    let own = torrent.metainfo.web_seeds.iter();
    let own = own.filter(|_| !choice.no_others).map(|url| (url, false));
    let named = choice.named.iter().map(|url| (url, true));
    let mut urls: Vec<(&String, bool)> = Vec::new();
    for (url, trusted) in named.chain(own) {
        if urls.len() < MOST && urls.iter().all(|(other, _)| *other != url) {
            urls.push((url, trusted));
        }
    }
    for (url, trusted) in urls {
        let wishes = Arc::new(Wishes::new(url::shown(url), torrent.geometry()));
        let Some(number) = torrent.add_web_seed(wishes.clone()) else {
            return;
        };
        match Base::new(url, &torrent.metainfo) {
            Ok(base) => {
                let seed = WebSeed {
                    torrent: torrent.clone(),
                    wishes: wishes.clone(),
                    number,
                    base,
                    map: torrent.metainfo.file_map(),
                    bind: bind.clone(),
                    trusted,
                    whole: false,
                    readings: Readings::new(),
                    failures: Failures::default(),
                };
                if threads::spawn("web-seed", move || seed.run()).is_none() {
                    dropped(torrent, &wishes, &"the system refuses another thread");
                }
            }
            Err(error) => dropped(torrent, &wishes, &error),
        }
    }
}

fn dropped(torrent: &Torrent, wishes: &Wishes, why: &dyn Display) {
    let (name, why) = (wishes.name.clone(), why.to_string());
    (torrent.setting.on_happening)(Happening::WebSeedDropped(name, why));
}

struct WebSeed {
    torrent: Arc<Torrent>,
    wishes: Arc<Wishes>,
    number: u16,
    base: Base,
    map: FileMap,
    bind: Bind,
    /// The operator has named it.
    trusted: bool,
    /// It sends whole files only.
    whole: bool,
    readings: Readings,
    failures: Failures,
}

/// How a time of use has ended.
enum End {
    /// The swarm wants no more of it.
    Close(Close),
    /// It has not delivered.
    Trouble(Trouble),
}

impl WebSeed {
    /// Uses the server, time and again, until it or we have no more use for the other.
    fn run(mut self) {
        let mut rng = fastrand::Rng::new();
        loop {
            let client = Arc::new(Ranges::new(&self.bind, PATIENCE, self.trusted));
            if !self.wishes.begin(client.clone()) {
                return;
            }
            let number = self.number;
            let (wishes, whole) = (self.wishes.clone(), self.whole);
            let Some(peer) = self.torrent.web_seed(wishes, number, whole) else {
                return;
            };
            let end = self.serve(peer, client);
            self.torrent.disconnected(peer);
            let pause = match end {
                End::Close(Close::Stopping | Close::BothComplete) => return,
                // Who has lied stays banned for a while, and the swarm knows for how long.
                End::Close(_) => self.failures.another(None, &mut rng),
                // Nothing of what was asked for can be had at random; in order, everything can.
                End::Trouble(Trouble::Fault(Fault::NoRanges)) if !self.whole => {
                    self.whole = true;
                    continue;
                }
                End::Trouble(trouble) if trouble.may_pass() => {
                    let pause = self.failures.another(trouble.retry_after(), &mut rng);
                    self.tell(Happening::WebSeedFailed, &trouble, pause);
                    pause
                }
                End::Trouble(trouble) => {
                    let happening = |name, why, _| Happening::WebSeedDropped(name, why);
                    return self.tell(happening, &trouble, Duration::ZERO);
                }
            };
            if !self.wishes.pause(pause) {
                return;
            }
        }
    }

    fn tell(
        &self,
        happening: impl Fn(String, String, Duration) -> Happening,
        trouble: &Trouble,
        pause: Duration,
    ) {
        let happening = happening(self.wishes.name.clone(), trouble.to_string(), pause);
        (self.torrent.setting.on_happening)(happening);
    }

    fn serve(&mut self, peer: PeerKey, client: Arc<Ranges>) -> End {
        let torrent = self.torrent.clone();
        let mut reader = Reader {
            metainfo: &torrent.metainfo,
            map: &self.map,
            base: &self.base,
            client,
            patience: PATIENCE,
            whole: self.whole,
            readings: &mut self.readings,
            open: None,
            at: 0,
        };
        loop {
            let gather = torrent.setting.limits.download.is_on();
            match self.wishes.next(self.whole.then_some(reader.at), gather) {
                Work::Over(reason) => return End::Close(reason),
                Work::Reject(blocks) => reject(&torrent, peer, blocks),
                Work::Fetch(blocks) => {
                    let fetched = fetch(&torrent, &self.wishes, peer, &mut reader, &blocks);
                    if let Err(trouble) = fetched {
                        // What was broken off for us is no fault of the server.
                        let over = self.wishes.over();
                        return over.map_or(End::Trouble(trouble), End::Close);
                    }
                    self.failures.forget();
                }
            }
        }
    }
}

fn reject(torrent: &Torrent, peer: PeerKey, blocks: Vec<Block>) {
    for block in blocks {
        torrent.message(peer, Message::Reject(block));
    }
}

/// Reads blocks that follow one another and hands them to the swarm as they come.
fn fetch(
    torrent: &Torrent,
    wishes: &Wishes,
    peer: PeerKey,
    reader: &mut Reader<'_>,
    blocks: &[Block],
) -> Result<(), Trouble> {
    let geometry = torrent.geometry();
    let last = blocks.last();
    let end = last.map_or(0, |&b| geometry.block_offset(b) + u64::from(b.len));
    for (n, &block) in blocks.iter().enumerate() {
        let offset = geometry.block_offset(block);
        reader.seek(offset, end)?;
        if !wishes.is_wanted() {
            // Others have sent all that is left of it, or it has taken too long to get there, and has been asked for anew.
            reader.give_up();
            reject(torrent, peer, blocks[n..].to_vec());
            return Ok(());
        }
        let mut buffer = torrent.setting.pool.take(block.len);
        reader.read(offset, end, &mut buffer)?;
        let rejected = wishes.arrived(block);
        torrent.block(peer, block, buffer);
        reject(torrent, peer, rejected);
    }
    Ok(())
}
