//! How an answer is generated: how many tokens, how fast, and where it breaks.

use crate::connection::{Connection, Gone};
use crate::json::Value;
use crate::request::Request;
use crate::settings::Settings;
use std::time::Duration;

/// Most tokens in one answer, whatever was asked.
const MAX_TOKENS: u64 = 1_000_000;

/// The pace of one answer. The query overrides the body, which overrides the environment.
pub struct Pace {
    pub tokens: u64,
    token: Duration,
    first: Duration,
    cut_after: Option<u64>,
}

impl Pace {
    /// Reads `tokens`, `token_ms`, `first_ms` and `cut_after` of the query, and `max_tokens` of the body.
    pub fn of(settings: &Settings, request: &Request, body: &Value) -> Self {
        let wait = |name, default| request.query_number(name).map_or(default, Duration::from_millis);
        let limit = ["max_tokens", "max_completion_tokens", "max_output_tokens"]
            .iter()
            .find_map(|name| body.get(name)?.whole());
        let tokens = request.query_number("tokens").unwrap_or_else(|| settings.tokens.min(limit.unwrap_or(MAX_TOKENS)));
        Self {
            tokens: tokens.min(MAX_TOKENS),
            token: wait("token_ms", settings.token),
            first: wait("first_ms", settings.first_token),
            cut_after: request.query_number("cut_after"),
        }
    }

    /// Waits for each token in turn and hands it to `each`; cuts the connection where it was told to.
    pub fn stream(
        &self,
        to: &mut Connection,
        mut each: impl FnMut(&mut Connection, &str) -> Result<(), Gone>,
    ) -> Result<(), Gone> {
        to.wait(self.first)?;
        for number in 0..self.tokens {
            to.wait(self.token)?;
            if self.cut_after == Some(number) {
                to.cut();
                return Err(Gone);
            }
            each(to, &token(number))?;
        }
        Ok(())
    }

    /// Waits for all tokens and gives the whole text.
    pub fn whole(&self, to: &mut Connection) -> Result<String, Gone> {
        let mut text = String::new();
        self.stream(to, |_, token| {
            text.push_str(token);
            Ok(())
        })?;
        Ok(text)
    }
}

fn token(number: u64) -> String {
    format!("tok{number} ")
}
