//! Memory and descriptors of each process, from some seconds after its start to its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::{Platform, Service};

use crate::verdict::{Invariant, Verdict};

/// A process that has just started still opens connections, and fills its caches.
const WARM: Duration = Duration::from_secs(10);
const MOST_GROWTH_KIB: u64 = 48 * 1024;
const MOST_MORE_DESCRIPTORS: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Sample {
    resident_kib: u64,
    descriptors: usize,
}

#[derive(Debug)]
struct Process {
    name: String,
    seen: Instant,
    first: Option<Sample>,
    last: Option<Sample>,
}

#[derive(Debug, Default)]
pub(crate) struct Growth(BTreeMap<u32, Process>);

impl Growth {
    /// Looks at every process that runs.
    pub(crate) fn look(&mut self, platform: &mut Platform) {
        for replica in Service::ALL.into_iter().flat_map(|service| (0..2).map(move |number| service.replica(number))) {
            let Some(id) = platform.process_id(replica) else { continue };
            let Some(sample) = sample(id) else { continue };
            let name = format!("{}-{} ({id})", replica.service.program(), replica.number + 1);
            let process =
                self.0.entry(id).or_insert_with(|| Process { name, seen: Instant::now(), first: None, last: None });
            if process.seen.elapsed() > WARM {
                process.first.get_or_insert(sample);
                process.last = Some(sample);
            }
        }
    }

    pub(crate) fn judge(&self, verdict: &Verdict) -> String {
        let mut lines = String::new();
        for process in self.0.values() {
            let (Some(first), Some(last)) = (process.first, process.last) else { continue };
            let how = format!(
                "{}: {} to {} MB, {} to {} descriptors in {:?}",
                process.name,
                first.resident_kib / 1024,
                last.resident_kib / 1024,
                first.descriptors,
                last.descriptors,
                process.seen.elapsed(),
            );
            let is_flat = last.resident_kib <= first.resident_kib + MOST_GROWTH_KIB
                && last.descriptors <= first.descriptors + MOST_MORE_DESCRIPTORS;
            verdict.expect(Invariant::Flat, is_flat, || how.clone());
            lines.push_str(&format!("    {how}\n"));
        }
        lines
    }
}

fn sample(id: u32) -> Option<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let resident_kib = resident.trim().trim_end_matches(" kB").trim().parse().ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{id}/fd")).ok()?.count();
    Some(Sample { resident_kib, descriptors })
}
