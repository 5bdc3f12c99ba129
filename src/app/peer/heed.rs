//! What a run makes of what trackers say.

use crate::app::failure::{Exit, Failure};

use super::announcer::{Announcer, Word};
use super::job::{Phase, Refusal};
use super::port_mapping;
use super::run::Run;

impl Run {
    pub(super) fn heed(&mut self, index: usize, url: &str, word: Word) {
        let job = &mut self.jobs[index];
        let before = job.refusals.iter().position(|before| before.tracker == url);
        let before = before.map(|at| job.refusals.swap_remove(at));
        match word {
            Word::Announced(peers, counted) => {
                job.counts.note(url, counted);
                self.teller.detail(&format!(
                    "{}: tracker `{url}` names {peers} peers",
                    job.name
                ));
            }
            Word::Warned(warning) => self
                .teller
                .note(&format!("{}: tracker `{url}` warns: {warning}", job.name)),
            Word::Failed(cause) => self.teller.note(&format!(
                "{}: cannot announce to `{url}`: {cause}; trying again",
                job.name
            )),
            Word::Refused(reason, is_final) => {
                if before.is_none() {
                    self.teller
                        .note(&format!("{}: tracker `{url}` refuses: {reason}", job.name));
                }
                job.refusals.push(Refusal {
                    tracker: url.to_owned(),
                    reason,
                    is_final: is_final || before.is_some(),
                });
                self.give_up_if_refused(index);
            }
        }
    }

    /// What the gateway has said. Trackers hear of another port with their next announce, which is made as soon as they allow.
    pub(super) fn heed_mapping(&mut self, word: port_mapping::Word) {
        match word {
            port_mapping::Word::Mapped(address, port, protocol) => {
                let address = address.map_or_else(|| "the gateway".into(), |ip| ip.to_string());
                let line = format!("port mapping: {address}:{port} leads here ({protocol})");
                self.teller.detail(&line);
                if port != self.session.listening().port() {
                    let announcers = self.jobs.iter().filter_map(|job| job.announcer.as_ref());
                    announcers.for_each(Announcer::more_peers_wanted);
                }
            }
            port_mapping::Word::Failed(cause) => {
                self.teller.detail(&format!("port mapping: {cause}"));
            }
        }
    }

    /// When every tracker has said no, and no peer is known from elsewhere, waiting would be for nothing.
    pub(super) fn give_up_if_refused(&mut self, index: usize) {
        let job = &self.jobs[index];
        let trackers = job.metainfo.announce.iter().flatten();
        let all = trackers.clone().next().is_some()
            && trackers.into_iter().all(|url| {
                job.refusals
                    .iter()
                    .any(|no| no.is_final && no.tracker == *url)
            });
        if all
            && job.stats().peers + job.stats().web_seeds == 0
            && self.plan.options.peers.is_empty()
            // It goes on asking, as often as the trackers allow.
            && !self.is_long_lived()
            && matches!(job.phase, Phase::Downloading | Phase::Seeding(_))
        {
            let no = &job.refusals[0];
            let failure = Failure::new(
                Exit::Network,
                "announce to",
                &no.tracker,
                format_args!("the tracker refuses: {}", no.reason),
            );
            self.end(index, Err(failure));
        }
    }
}
