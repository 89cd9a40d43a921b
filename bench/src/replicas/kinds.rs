//! The kinds of traffic that replicas share: how prompts begin alike, and how conversations grow.

use std::sync::Arc;
use std::time::Duration;

use super::Chance;
use crate::traffic::MODELS;

/// Requests that arrive in a second, in all.
const RATE: f64 = 180.0;

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 150 tenants, each with a system prompt of 24 kB; single questions.
    Tenants,
    /// Conversations that share one system prompt.
    Chats,
    /// Agents with the same tools, whose context grows to some 60 kB.
    Agents,
    /// 200 system prompts of 8 kB, some much more popular than others.
    Zipf,
    /// Prompts of which no two begin alike for longer than a short system prompt.
    NoReuse,
}

/// All of them.
pub const ALL: [Kind; 5] = [Kind::Tenants, Kind::Chats, Kind::Agents, Kind::Zipf, Kind::NoReuse];

/// A conversation: its turns follow each other.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// Which of them begin alike.
    pub group: usize,
    system: Arc<str>,
    /// Its turns.
    pub turns: Vec<Turn>,
}

/// A turn of a conversation.
#[derive(Debug, Clone)]
pub struct Turn {
    /// When it is due, unless the turn before has not ended by then.
    pub at: Duration,
    question: String,
    answer: String,
    /// The events of its response.
    pub events: u64,
}

impl Kind {
    /// Its name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenants => "tenants",
            Self::Chats => "chats",
            Self::Agents => "agents",
            Self::Zipf => "zipf",
            Self::NoReuse => "no-reuse",
        }
    }

    /// How many requests a run sends.
    pub fn requests(self) -> usize {
        match self {
            Self::Tenants => 600,
            Self::Agents => 360,
            Self::Chats | Self::Zipf | Self::NoReuse => 480,
        }
    }

    /// The conversations of a run, in the order in which they begin. Another seed makes other texts and other times.
    pub fn conversations(self, seed: u64, requests: usize) -> Vec<Conversation> {
        let mut chance = Chance::new(seed ^ (self as u64) << 32);
        let length = Duration::from_secs_f64(requests as f64 / RATE);
        let mut all = match self {
            Self::Tenants => {
                let prompts = prompts(&mut chance, 150, 24_000);
                let tenant = |chance: &mut Chance| chance.below(150);
                single(&mut chance, requests, length, &prompts, tenant, (200, 400))
            }
            Self::NoReuse => {
                let prompts = prompts(&mut chance, 1, 1_000);
                single(&mut chance, requests, length, &prompts, |_| 0, (3_000, 11_000))
            }
            Self::Chats => {
                let prompts = prompts(&mut chance, 1, 4_000);
                let shape = Shape { turns: (4, 6), question: (300, 1_500), answer: (300, 1_500), within: 0.5 };
                growing(&mut chance, requests, length, &prompts, |_| 0, &shape)
            }
            Self::Agents => {
                let prompts = prompts(&mut chance, 1, 4_000);
                let shape = Shape { turns: (10, 14), question: (2_000, 6_000), answer: (200, 1_000), within: 0.7 };
                growing(&mut chance, requests, length, &prompts, |_| 0, &shape)
            }
            Self::Zipf => {
                let prompts = prompts(&mut chance, 200, 8_000);
                let shape = Shape { turns: (1, 3), question: (300, 1_500), answer: (300, 1_500), within: 0.3 };
                growing(&mut chance, requests, length, &prompts, |chance| chance.zipf(200), &shape)
            }
        };
        all.sort_by_key(|conversation| conversation.turns.first().map(|turn| turn.at));
        all
    }
}

/// How a conversation grows.
struct Shape {
    turns: (usize, usize),
    question: (usize, usize),
    answer: (usize, usize),
    /// The part of the run that a conversation takes.
    within: f64,
}

fn prompts(chance: &mut Chance, count: usize, bytes: usize) -> Vec<Arc<str>> {
    (0..count).map(|_| chance.text(bytes).into()).collect()
}

fn single(
    chance: &mut Chance,
    requests: usize,
    length: Duration,
    prompts: &[Arc<str>],
    mut group: impl FnMut(&mut Chance) -> usize,
    question: (usize, usize),
) -> Vec<Conversation> {
    let shape = Shape { turns: (1, 1), question, answer: (0, 0), within: 0.0 };
    growing(chance, requests, length, prompts, &mut group, &shape)
}

fn growing(
    chance: &mut Chance,
    requests: usize,
    length: Duration,
    prompts: &[Arc<str>],
    mut group: impl FnMut(&mut Chance) -> usize,
    shape: &Shape,
) -> Vec<Conversation> {
    let (mut conversations, mut planned) = (Vec::new(), 0);
    while planned < requests {
        let group = group(chance);
        let count = chance.between(shape.turns).min(requests - planned);
        planned += count;
        let begins = length.mul_f64(chance.unit() * (1.0 - shape.within));
        let pause = length.mul_f64(shape.within / count as f64);
        let turns = (0..count).map(|turn| {
            let at = begins + pause.mul_f64(turn as f64 + 0.8 * chance.unit());
            let (question, answer) = (chance.between(shape.question), chance.between(shape.answer));
            let events = chance.between((4, 12)) as u64;
            Turn { at, question: chance.text(question), answer: chance.text(answer), events }
        });
        let turns = turns.collect();
        let system = prompts.get(group).cloned().unwrap_or_default();
        conversations.push(Conversation { group, system, turns });
    }
    conversations
}

impl Conversation {
    /// The messages of a turn, as they stand in its request.
    pub fn messages(&self, turn: usize) -> String {
        let mut messages = format!("{{\"role\":\"system\",\"content\":\"{}\"}}", self.system);
        for (at, one) in self.turns.iter().enumerate().take(turn + 1) {
            messages += &format!(",{{\"role\":\"user\",\"content\":\"{}\"}}", one.question);
            if at < turn {
                messages += &format!(",{{\"role\":\"assistant\",\"content\":\"{}\"}}", one.answer);
            }
        }
        messages
    }

    /// The request of a turn.
    pub fn request(&self, turn: usize) -> Vec<u8> {
        let body = format!(
            "{{\"model\":\"{}\",\"messages\":[{}],\"max_tokens\":{},\"stream\":true}}",
            MODELS[0],
            self.messages(turn),
            self.turns.get(turn).map_or(1, |turn| turn.events)
        );
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: keep-alive\r\n\
                    Accept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 1.55.0\r\n";
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_conversations_again() {
        for kind in ALL {
            let texts = |seed| {
                let all = kind.conversations(seed, 60);
                all.iter().map(|one| one.messages(one.turns.len() - 1)).collect::<Vec<_>>()
            };
            assert_eq!(texts(3), texts(3));
            assert_ne!(texts(3), texts(4));
            assert_eq!(kind.conversations(3, 60).iter().map(|one| one.turns.len()).sum::<usize>(), 60);
        }
    }

    #[test]
    fn a_later_turn_begins_as_the_one_before() {
        for conversation in Kind::Agents.conversations(3, 60) {
            for turn in 1..conversation.turns.len() {
                assert!(conversation.messages(turn).starts_with(&conversation.messages(turn - 1)));
            }
        }
    }
}
