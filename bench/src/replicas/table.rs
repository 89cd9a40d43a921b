//! What was found out about the routers, as a section of Markdown.

use super::kinds::Kind;
use super::routers::{self, Router};
use super::{Figures, Findings, Place};
use crate::stats::Sample;

/// The command whose table is written.
pub const TARGET: &str = "make bench-replicas";

impl Findings {
    /// The median over the seeds.
    fn median(&self, place: Place, router: Router, of: impl Fn(&Figures) -> f64) -> Option<f64> {
        let rounds = self.rounds.get(&place)?.iter();
        rounds.filter_map(|round| round.get(&router).map(&of)).collect::<Sample>().median()
    }

    /// The median over the seeds of a figure divided by another router's in the same round.
    fn ratio(&self, place: Place, router: Router, to: Router, of: impl Fn(&Figures) -> f64) -> Option<f64> {
        let rounds = self.rounds.get(&place)?.iter();
        let ratios = rounds.filter_map(|round| Some(of(round.get(&router)?) / of(round.get(&to)?)));
        ratios.collect::<Sample>().median()
    }
}

/// The whole section.
pub fn section(findings: &Findings) -> String {
    let seeds = findings.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let mut text = format!("{}. {}. Medians over the seeds {seeds}.\n", findings.machine, findings.versions.join(", "));
    let mut counts: Vec<usize> = findings.rounds.keys().map(|(count, _)| *count).collect();
    counts.dedup();
    for count in counts {
        text += &format!(
            "\n{count} members:\n\n| traffic | router | hit rate (× oracle) | mean first event, ms (× oracle) | p95, ms (× oracle) | \
             busiest member / mean | errors |\n| --- | --- | ---: | ---: | ---: | ---: | ---: |\n"
        );
        for (_, kind) in findings.rounds.keys().filter(|(of, _)| *of == count) {
            let rows = routers::ALL.into_iter().filter_map(|router| row(findings, (count, *kind), router));
            text += &rows.collect::<String>();
        }
    }
    text + &remarks(findings)
}

fn row(findings: &Findings, place: Place, router: Router) -> Option<String> {
    let cell = |of: fn(&Figures) -> f64, digits: usize| {
        let ratio = findings.ratio(place, router, Router::Oracle, of).filter(|ratio| ratio.is_finite());
        let ratio = ratio.map_or(String::new(), |ratio| format!(" (× {ratio:.2})"));
        Some(format!("{:.digits$}{ratio}", findings.median(place, router, of)?))
    };
    let errors: usize = findings.rounds.get(&place)?.iter().filter_map(|round| Some(round.get(&router)?.errors)).sum();
    Some(format!(
        "| {} | {} | {} | {} | {} | {:.2} | {errors} |\n",
        place.1.name(),
        router.name(),
        cell(|figures| figures.hits, 3)?,
        cell(|figures| figures.mean, 0)?,
        cell(|figures| figures.p95, 0)?,
        findings.median(place, router, |figures| figures.busiest)?,
    ))
}

/// What is expected of our routers, and is not so.
fn misses(findings: &Findings) -> Vec<String> {
    let mut misses = Vec::new();
    for place in findings.rounds.keys() {
        let mut expect = |router: Router, what: &str, value: Option<f64>, least: f64, most: f64| {
            if let Some(value) = value.filter(|value| !(least..=most).contains(value)) {
                let (kind, count) = (place.1.name(), place.0);
                let bound = if value < least { format!("at least {least}") } else { format!("at most {most}") };
                misses.push(format!("{kind}, {count} members, {}: {what} {value:.2}, {bound}", router.name()));
            }
        };
        let ratio = |router, to, of: fn(&Figures) -> f64| findings.ratio(*place, router, to, of);
        for (router, least) in [(Router::PrefixAffinity, 0.95), (Router::Three, 0.9), (Router::Beside, 0.95)] {
            let hits = ratio(router, Router::Oracle, |figures| figures.hits);
            expect(router, "hit rate × oracle", hits, least, f64::MAX);
            let busiest = findings.median(*place, router, |figures| figures.busiest);
            expect(router, "busiest member / mean", busiest, 0.0, 1.5);
        }
        if place.1 == Kind::NoReuse {
            for (router, most) in [(Router::PrefixAffinity, 1.1), (Router::LeastRequests, 1.0), (Router::Beside, 1.1)] {
                let mean = ratio(router, Router::RoundRobin, |figures| figures.mean);
                expect(router, "mean first event × round robin", mean, 0.0, most);
            }
            continue;
        }
        for router in [Router::PrefixAffinity, Router::Beside] {
            let best = |of: fn(&Figures) -> f64| {
                let sglang = [Router::CacheAware, Router::SglangRoundRobin];
                sglang.into_iter().filter_map(|to| ratio(router, to, of)).max_by(f64::total_cmp)
            };
            expect(router, "mean first event × sglang-router's best", best(|figures| figures.mean), 0.0, 1.0);
            expect(router, "p95 first event × sglang-router's best", best(|figures| figures.p95), 0.0, 1.1);
        }
    }
    misses
}

fn remarks(findings: &Findings) -> String {
    let mut text = String::new();
    for peer in &findings.missing {
        text += &format!("\n{} was not there: `{}`.\n", peer.name(), peer.how_to_get());
    }
    if findings.broken_off {
        text += "\nThe run was broken off before all seeds were through.\n";
    }
    for (title, lines) in [("Expected and not so", misses(findings)), ("What went wrong", findings.troubles.clone())] {
        if !lines.is_empty() {
            text += &format!("\n{title}:\n\n{}", lines.iter().map(|line| format!("- {line}\n")).collect::<String>());
        }
    }
    text
}
