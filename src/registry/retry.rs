//! Whether and when to repeat a failed request.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How often and after which pauses a failed request is repeated.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Most retries of a request.
    pub retries: u32,
    /// The pause before the first retry; it doubles each time.
    pub first_delay: Duration,
    /// The longest pause. If a registry asks for a longer one, the request is not repeated.
    pub max_delay: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            retries: 5,
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// Returns the pause before retry number `retry`, counted from 0; `None` if there are no more
    /// retries.
    ///
    /// `demanded` is the pause that the registry asks for. Half of the pause is random, so that
    /// clients which failed together do not return together.
    pub(super) fn delay(&self, retry: u32, demanded: Option<Duration>) -> Option<Duration> {
        if retry >= self.retries || demanded.is_some_and(|demanded| demanded > self.max_delay) {
            return None;
        }
        let full = self
            .first_delay
            .saturating_mul(1 << retry.min(16))
            .min(self.max_delay);
        let jittered = full / 2 + (full / 2).mul_f64(random_fraction());
        Some(demanded.map_or(jittered, |demanded| demanded.max(jittered)))
    }
}

/// Whether a status means that the same request may succeed later.
pub(super) fn is_temporary(status: StatusCode) -> bool {
    status == StatusCode::REQUEST_TIMEOUT
        || status == StatusCode::TOO_MANY_REQUESTS
        || (status.is_server_error()
            && status != StatusCode::NOT_IMPLEMENTED
            && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED)
}

/// Returns the pause that a registry asks for: `Retry-After` in seconds or as a date, or Docker
/// Hub's `X-Retry-After` as a Unix time.
pub(super) fn demanded_delay(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let until = |time: SystemTime| time.duration_since(now).unwrap_or_default();
    if let Some(value) = text(RETRY_AFTER.as_str()) {
        let value = value.trim();
        if let Ok(seconds) = value.parse() {
            return Some(Duration::from_secs(seconds));
        }
        if let Ok(date) = httpdate::parse_http_date(value) {
            return Some(until(date));
        }
    }
    let seconds = text("x-retry-after")?.trim().parse().ok()?;
    Some(until(
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?,
    ))
}

/// Returns a number from 0 to 1. The hash keys of the standard library are random enough here.
fn random_fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish() >> 32;
    random as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 4,
        first_delay: Duration::from_secs(1),
        max_delay: Duration::from_secs(5),
    };

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        for (retry, least, most) in [(0, 500, 1000), (1, 1000, 2000), (3, 2500, 5000)] {
            let delay = POLICY.delay(retry, None).unwrap().as_millis();
            assert!((least..=most).contains(&delay), "{retry}: {delay}");
        }
        assert_eq!(POLICY.delay(4, None), None);
    }

    #[test]
    fn a_demanded_pause_is_made_or_ends_the_retries() {
        let seconds = Duration::from_secs;
        assert_eq!(POLICY.delay(0, Some(seconds(4))), Some(seconds(4)));
        assert_eq!(POLICY.delay(0, Some(seconds(6))), None);
    }

    #[test]
    fn retry_after_is_parsed_in_each_form() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (name, value, expected) in [
            ("retry-after", "7", Some(7)),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("x-retry-after", "784111780", Some(10)),
            ("x-retry-after", "1", Some(0)),
            ("retry-after", "soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            let delay = demanded_delay(&headers, now);
            assert_eq!(delay, expected.map(Duration::from_secs), "{name}: {value}");
        }
        assert_eq!(demanded_delay(&HeaderMap::new(), now), None);
    }

    #[test]
    fn only_temporary_states_are_retried() {
        for (status, expected) in [
            (400, false),
            (401, false),
            (403, false),
            (404, false),
            (408, true),
            (429, true),
            (500, true),
            (501, false),
            (503, true),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(is_temporary(status), expected, "{status}");
        }
    }
}
