//! The DHT of one family of addresses (BEP 32): our name in it, the nodes, the questions under way and the lookups.

use std::net::SocketAddr;
use std::time::Duration;

use super::external::External;
use super::schedule::Schedule;
use super::search::{Purpose, Search};
use super::table::{K, Table};
use super::{Action, Config};
use crate::base::id::InfoHash;
use crate::base::node::{Contact, NodeId};
use crate::base::siphash::siphash;
use crate::base::time::Time;
use crate::proto::krpc::{Announce, Packet, Query, Reply, Want, write_query};

/// After so long an answer is late, and another node is asked meanwhile.
const SLOW: Duration = Duration::from_secs(1);

/// After so long none will come.
const LOST: Duration = Duration::from_secs(5);

/// Lookups at once.
const MAX_SEARCHES: usize = 8;

/// Lookups at once that only refresh the table.
const MAX_REFRESHES: usize = 2;

/// Nodes that are asked at once whether they are there.
const MAX_CHECKS: usize = 32;

/// Places to begin at that are remembered.
const MAX_SEEDS: usize = 64;

/// Nodes that are remembered from an earlier run.
const MAX_REMEMBERED: usize = 200;

/// How often the table is looked after.
const UPKEEP: Duration = Duration::from_secs(5);

/// From the first attempt to find anybody to the next; from then on twice as long each time.
const RETRY: Duration = Duration::from_secs(5);

/// The longest of these, and how often one looks further who knows fewer than eight.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// A question under way.
#[derive(Clone, Copy, Debug)]
struct Question {
    transaction: [u8; 4],
    to: SocketAddr,
    id: Option<NodeId>,
    asked: Time,
    slow: bool,
    why: Why,
}

/// Why a node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// To see whether it is there.
    Check,
    /// For this lookup.
    Search(u64),
    /// To announce ourselves.
    Announce,
}

/// A lookup under way.
#[derive(Debug)]
struct Task {
    number: u64,
    search: Search,
}

/// The way in.
#[derive(Debug)]
struct Bootstrap {
    seeds: Vec<SocketAddr>,
    /// Nodes of an earlier run.
    remembered: Vec<Contact>,
    due: Time,
    /// Our name is new, and our neighbours do not know it yet.
    is_new: bool,
    misses: u32,
    /// The lookup that is under way, and with how many seeds it began.
    task: Option<(u64, usize)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Side {
    is_v6: bool,
    id: NodeId,
    read_only: bool,
    secret: [u64; 2],
    /// Questions so far.
    counter: u64,
    table: Table,
    external: External,
    questions: Vec<Question>,
    tasks: Vec<Task>,
    schedule: Schedule,
    bootstrap: Bootstrap,
    upkeep: Time,
    /// It knows fewer than eight good nodes.
    is_hungry: bool,
    /// So does the other family.
    other_is_hungry: bool,
}

impl Side {
    pub(super) fn new(is_v6: bool, config: &Config, now: Time, rng: &mut fastrand::Rng) -> Self {
        let external = config.external.filter(|ip| ip.is_ipv6() == is_v6);
        let kept = config.ids[usize::from(is_v6)];
        let kept = kept.filter(|id| external.is_none_or(|ip| id.befits(ip)));
        let id = match (kept, external) {
            (Some(id), _) => id,
            (None, Some(ip)) => NodeId::of_host(ip, rng),
            (None, None) => NodeId::random(rng),
        };
        Self {
            is_v6,
            id,
            read_only: config.read_only,
            // Tokens and the numbers of questions have nothing in common.
            secret: config.secret.map(|word| word ^ (1 + u64::from(is_v6))),
            counter: 0,
            table: Table::new(id, now),
            external: External::default(),
            questions: Vec::new(),
            tasks: Vec::new(),
            schedule: Schedule::default(),
            bootstrap: Bootstrap {
                seeds: Vec::new(),
                remembered: Vec::new(),
                due: now,
                is_new: true,
                misses: 0,
                task: None,
            },
            upkeep: now,
            is_hungry: true,
            other_is_hungry: false,
        }
    }

    pub(super) const fn id(&self) -> NodeId {
        self.id
    }

    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    pub(super) const fn schedule(&mut self) -> &mut Schedule {
        &mut self.schedule
    }

    /// Whether it could do with more nodes.
    pub(super) const fn is_hungry(&self) -> bool {
        self.is_hungry
    }

    /// Whether nodes of the other family are asked for, too.
    pub(super) const fn ask_for_other(&mut self, wanted: bool) {
        self.other_is_hungry = wanted;
    }

    /// A place to begin at, which the operator has named.
    pub(super) fn add_seed(&mut self, now: Time, addr: SocketAddr) {
        let bootstrap = &mut self.bootstrap;
        if bootstrap.seeds.len() < MAX_SEEDS && !bootstrap.seeds.contains(&addr) {
            bootstrap.seeds.push(addr);
            (bootstrap.due, bootstrap.misses) = (now, 0);
        }
    }

    /// A node of an earlier run.
    pub(super) fn remember(&mut self, node: Contact) {
        if self.bootstrap.remembered.len() < MAX_REMEMBERED {
            self.bootstrap.remembered.push(node);
        }
    }

    /// There may be a node: it is asked, if there is a place for it and not too many are.
    pub(super) fn consider(
        &mut self,
        now: Time,
        addr: SocketAddr,
        id: Option<NodeId>,
        out: &mut Vec<Action>,
    ) {
        let asked = self.questions.iter().any(|question| question.to == addr);
        let checks = self.questions.iter().filter(|q| q.why == Why::Check);
        let wanted = match id {
            Some(id) => self.table.wants(Contact { id, addr }),
            None => !self.table.has_proven(addr, now),
        };
        if wanted && !asked && checks.count() < MAX_CHECKS {
            self.ask(now, (addr, id), &Query::Ping, Why::Check, out);
        }
    }

    /// A node has asked us something.
    pub(super) fn asked_us(&mut self, now: Time, contact: Contact, out: &mut Vec<Action>) {
        self.table.asked_us(now, contact);
        self.consider(now, contact.addr, Some(contact.id), out);
    }

    /// An answer has come. `false` if nobody has asked for it there.
    pub(super) fn answered(
        &mut self,
        now: Time,
        from: SocketAddr,
        packet: &Packet,
        reply: Reply,
        rng: &mut fastrand::Rng,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(question) = self.take(from, &packet.transaction) else {
            return false;
        };
        let contact = Contact {
            id: reply.id,
            addr: from,
        };
        self.table.answered(now, contact);
        if let Some(external) = packet.external {
            let named = self.bootstrap.seeds.contains(&from);
            let seen = external.ip().to_canonical();
            let agreed = self.external.note(from.ip(), seen, named);
            if let Some(ip) = agreed.filter(|&ip| !self.id.befits(ip)) {
                self.id = NodeId::of_host(ip, rng);
                self.table.rebase(self.id, now);
                // Its neighbours are others than before.
                (self.bootstrap.due, self.bootstrap.is_new) = (now, true);
            }
        }
        let task = self
            .tasks
            .iter_mut()
            .find(|t| question.why == Why::Search(t.number));
        if let Some(task) = task {
            let target = task.search.target;
            let peers = task.search.answered(from, reply);
            if !peers.is_empty() {
                let info_hash = InfoHash(target.0);
                out.push(Action::Found { info_hash, peers });
            }
        }
        true
    }

    /// A node will not answer a question.
    pub(super) fn refused(&mut self, from: SocketAddr, packet: &Packet) {
        if let Some(question) = self.take(from, &packet.transaction) {
            self.fail(question);
        }
    }

    /// Only who was asked may answer, and only what it was asked.
    fn take(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<Question> {
        let mut questions = self.questions.iter();
        let at = questions.position(|q| q.to == from && q.transaction == transaction)?;
        Some(self.questions.swap_remove(at))
    }

    fn fail(&mut self, question: Question) {
        let mut tasks = self.tasks.iter_mut();
        if let Some(task) = tasks.find(|t| question.why == Why::Search(t.number)) {
            task.search.failed(question.to);
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Time, rng: &mut fastrand::Rng, out: &mut Vec<Action>) {
        self.give_up(now);
        self.is_hungry = self.table.good(now) < K;
        self.look_for_nodes(now);
        self.look_after(now, rng, out);
        self.go_on(now, rng, out);
        while self.may_begin() {
            let Some(info_hash) = self.schedule.next(now) else {
                break;
            };
            self.begin(now, info_hash.into(), Purpose::Peers, &[]);
            self.go_on(now, rng, out);
        }
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Time> {
        let patience = |q: &Question| q.asked + if q.slow { LOST } else { SLOW };
        let questions = self.questions.iter().map(patience).min();
        let upkeep = (self.table.len() > 0).then_some(self.upkeep);
        let bootstrap = self.may_bootstrap().then_some(self.bootstrap.due);
        let torrents = self.schedule.deadline().filter(|_| self.may_begin());
        [questions, upkeep, bootstrap, torrents]
            .into_iter()
            .flatten()
            .min()
    }

    fn may_begin(&self) -> bool {
        self.table.len() > 0 && self.bootstrap.task.is_none() && self.tasks.len() < MAX_SEARCHES
    }

    fn may_bootstrap(&self) -> bool {
        let bootstrap = &self.bootstrap;
        let known = bootstrap.seeds.len() + bootstrap.remembered.len() + self.table.len();
        (self.is_hungry || bootstrap.is_new) && bootstrap.task.is_none() && known > 0
    }

    fn give_up(&mut self, now: Time) {
        let mut lost = Vec::new();
        let tasks = &mut self.tasks;
        self.questions.retain_mut(|question| {
            let age = now.since(question.asked);
            if !question.slow && age >= SLOW {
                question.slow = true;
                let task = tasks
                    .iter_mut()
                    .find(|t| question.why == Why::Search(t.number));
                task.into_iter()
                    .for_each(|task| task.search.is_slow(question.to));
            }
            let stays = age < LOST;
            lost.extend((!stays).then_some(*question));
            stays
        });
        for question in lost {
            if let Some(id) = question.id {
                let addr = question.to;
                self.table.failed(Contact { id, addr });
            }
            self.fail(question);
        }
    }

    /// The way in, or to more nodes.
    fn look_for_nodes(&mut self, now: Time) {
        if self.may_bootstrap() && self.bootstrap.due <= now {
            let seeds = self.bootstrap.seeds.clone();
            let task = self.begin(now, self.id, Purpose::Nodes, &seeds);
            self.bootstrap.task = Some((task, seeds.len()));
            self.bootstrap.is_new = false;
        }
    }

    /// Asks who has been silent for long, and looks through buckets that have been.
    fn look_after(&mut self, now: Time, rng: &mut fastrand::Rng, out: &mut Vec<Action>) {
        if now < self.upkeep || self.table.len() == 0 {
            return;
        }
        self.upkeep = now + UPKEEP;
        if let Some(node) = self.table.questionable(now) {
            self.ask(
                now,
                (node.addr, Some(node.id)),
                &Query::Ping,
                Why::Check,
                out,
            );
        }
        let refreshes = self
            .tasks
            .iter()
            .filter(|t| t.search.purpose == Purpose::Nodes);
        if refreshes.count() < MAX_REFRESHES
            && let Some(bits) = self.table.stale_bucket(now)
        {
            let target = self.id.beside(bits, rng);
            self.begin(now, target, Purpose::Nodes, &[]);
        }
    }

    fn begin(&mut self, now: Time, target: NodeId, purpose: Purpose, seeds: &[SocketAddr]) -> u64 {
        let mut known = self.table.closest(target, 2 * K, now, false);
        if !seeds.is_empty() || known.is_empty() {
            known.extend_from_slice(&self.bootstrap.remembered);
        }
        self.counter += 1;
        let number = self.counter;
        let search = Search::new(target, purpose, &known, seeds);
        self.tasks.push(Task { number, search });
        number
    }

    /// Asks whom lookups want asked, and ends those that are over.
    fn go_on(&mut self, now: Time, rng: &mut fastrand::Rng, out: &mut Vec<Action>) {
        let want = Want {
            v4: self.other_is_hungry,
            v6: self.other_is_hungry,
        };
        let mut tasks = std::mem::take(&mut self.tasks);
        for task in &mut tasks {
            while let Some(node) = task.search.next() {
                let target = task.search.target;
                let query = match task.search.purpose {
                    Purpose::Nodes => Query::FindNode(target, want),
                    Purpose::Peers => Query::GetPeers(InfoHash(target.0), want),
                };
                self.ask(now, node, &query, Why::Search(task.number), out);
            }
        }
        let over = tasks.extract_if(.., |task| task.search.is_over());
        let over: Vec<_> = over.collect();
        self.tasks = tasks;
        for task in over {
            self.end(now, &task, rng, out);
        }
    }

    fn end(&mut self, now: Time, task: &Task, rng: &mut fastrand::Rng, out: &mut Vec<Action>) {
        let Task { number, search } = task;
        // Answers that come late still count for the table.
        let questions = self.questions.iter_mut();
        let late = questions.filter(|question| question.why == Why::Search(*number));
        late.for_each(|question| question.why = Why::Check);
        if let Some((_, seeds)) = self.bootstrap.task.take_if(|task| task.0 == *number) {
            let found = self.table.good(now) > 0;
            let bootstrap = &mut self.bootstrap;
            let wait = if bootstrap.seeds.len() > seeds || bootstrap.is_new {
                SLOW
            } else if found {
                LONGEST_RETRY
            } else {
                (RETRY * (1 << bootstrap.misses.min(6))).min(LONGEST_RETRY)
            };
            bootstrap.misses = if found {
                0
            } else {
                bootstrap.misses.saturating_add(1)
            };
            bootstrap.due = now + wait;
        }
        if search.purpose == Purpose::Nodes {
            return;
        }
        let info_hash = InfoHash(search.target.0);
        let Some(port) = self.schedule.port(info_hash) else {
            return;
        };
        for (addr, token) in search.places() {
            let announce = Query::AnnouncePeer(Announce {
                info_hash,
                port: Some(port),
                token: token.to_vec(),
            });
            self.ask(now, (addr, None), &announce, Why::Announce, out);
        }
        let answered = search.answers() > 0;
        self.schedule.looked_up(now, info_hash, answered, rng);
    }

    fn ask(
        &mut self,
        now: Time,
        (to, id): (SocketAddr, Option<NodeId>),
        query: &Query,
        why: Why,
        out: &mut Vec<Action>,
    ) {
        self.counter += 1;
        // Nobody who has not seen it can tell the next one.
        let number = siphash(self.secret, [self.counter, 0, 0]);
        let [a, b, c, d, ..] = number.to_be_bytes();
        let transaction = [a, b, c, d];
        self.questions.push(Question {
            transaction,
            to,
            id,
            asked: now,
            slow: false,
            why,
        });
        let bytes = write_query(&transaction, self.id, query, self.read_only);
        out.push(Action::Send { to, bytes });
    }

    /// Whether it serves addresses of that family.
    pub(super) const fn serves(&self, addr: &SocketAddr) -> bool {
        addr.is_ipv6() == self.is_v6
    }
}
