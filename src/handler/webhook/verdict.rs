//! What an answer means for a task: done, again, or never again.

use std::time::{Duration, SystemTime};

use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};

use crate::codec::PAYLOAD_BYTES_MAX;
use crate::handler::{TaskError, text};

use super::exchange::{Answer, End, Fault};

/// Most bytes of the body of a failure that are kept.
pub(super) const DETAIL_BYTES_MAX: usize = 4 * 1024;
/// Longest and shortest wait a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

/// Statuses that are told apart otherwise than usual.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) archive_on: Vec<u16>,
    pub(super) retry_on: Vec<u16>,
}

impl Rules {
    /// Whether a retry may help.
    fn is_passing(&self, status: StatusCode) -> bool {
        let code = status.as_u16();
        let usual = matches!(code, 408 | 425 | 429) || status.is_server_error();
        self.retry_on.contains(&code) || usual && !self.archive_on.contains(&code)
    }

    /// The result of a task that was answered so, or its failure.
    pub(super) fn apply(
        &self,
        answer: Answer,
        keep: bool,
        now: SystemTime,
    ) -> Result<Option<Vec<u8>>, TaskError> {
        let Answer { status, headers, body, end } = answer;
        if status.is_success() {
            return if keep { result(status, &body, end) } else { Ok(None) };
        }
        let mut message = format!("the receiver answered {status}");
        if !body.is_empty() {
            message.push_str("\n--- answer ---\n");
            message.push_str(&String::from_utf8_lossy(&body));
        }
        let error = match (self.is_passing(status), retry_after(&headers, now)) {
            (false, _) => TaskError::skip_retry(message),
            (true, Some(wait)) => TaskError::retry_in(wait, message),
            (true, None) => TaskError::new(message),
        };
        Err(error.class(format!("http({})", status.as_u16())))
    }
}

/// What the body of a success may be: the receiver did its work, so a result that cannot be kept is no reason to
/// ask it again, but one that broke off is.
fn result(
    status: StatusCode,
    body: &[u8],
    end: Result<(), End>,
) -> Result<Option<Vec<u8>>, TaskError> {
    match end {
        Err(End::Broken(fault)) => return Err(failed(fault)),
        Ok(()) => {
            let result = text::result(body);
            if result.as_ref().is_none_or(|result| result.len() <= PAYLOAD_BYTES_MAX) {
                return Ok(result);
            }
        }
        Err(End::TooLarge) => {}
    }
    let message = format!(
        "the receiver answered {status}, with more than the {PAYLOAD_BYTES_MAX} bytes a result may have; let it \
         answer less, or enqueue without a retention"
    );
    Err(TaskError::skip_retry(message).class("result"))
}

/// No answer, or not the whole of it: a retry may help.
pub(super) fn failed(fault: Fault) -> TaskError {
    TaskError::new(fault.message).class(fault.class)
}

/// How long the receiver wants to be left alone, in seconds or until a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are long in any case.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use crate::outcome::{Outcome, Retry};

    use super::*;

    #[test]
    fn a_wait_is_read_in_both_forms_and_bounded() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").expect("a date");
        for (text, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", Some(1)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(1)),
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(86_400)),
            ("-5", None),
            ("soon", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a value"))]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn every_status_has_one_meaning() {
        let rules = Rules { archive_on: vec![500], retry_on: vec![409] };
        for code in 100..600 {
            let answer = Answer {
                status: StatusCode::from_u16(code).expect("a status"),
                headers: HeaderMap::new(),
                body: b"why".to_vec(),
                end: Err(End::TooLarge),
            };
            let keep = !(200..300).contains(&code);
            let expected = match code {
                200..300 => None,
                408 | 409 | 425 | 429 | 501..600 => Some(Retry::ByPolicy),
                _ => Some(Retry::Never),
            };
            match (rules.apply(answer, keep, SystemTime::UNIX_EPOCH), expected) {
                (Ok(None), None) => {}
                (Err(error), Some(retry)) => {
                    let class = format!("http({code})").into();
                    assert_eq!(error.outcome, Outcome::Failed { class, retry });
                    assert!(error.message.ends_with("\n--- answer ---\nwhy"), "{}", error.message);
                }
                (got, expected) => panic!("{code}: {got:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_success_with_too_much_to_keep_is_not_repeated() {
        let answer = |body: &[u8], end| Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.to_vec(),
            end,
        };
        let apply = |answer, keep| Rules::default().apply(answer, keep, SystemTime::UNIX_EPOCH);
        assert_eq!(apply(answer(b"[1]", Ok(())), true).expect("done"), Some(b"[1]".to_vec()));
        assert_eq!(apply(answer(b"[1]", Err(End::TooLarge)), false).expect("done"), None);
        // As a string each of these is six bytes.
        let controls = vec![1; PAYLOAD_BYTES_MAX / 2];
        for (body, end) in [(&b"x"[..], Err(End::TooLarge)), (&controls[..], Ok(()))] {
            let error = apply(answer(body, end), true).expect_err("too much");
            let class = "result".into();
            assert_eq!(error.outcome, Outcome::Failed { class, retry: Retry::Never });
        }
        let lost = Fault { class: "disconnected", message: String::new() };
        let error = apply(answer(b"[1", Err(End::Broken(lost))), true).expect_err("cut off");
        let class = "disconnected".into();
        assert_eq!(error.outcome, Outcome::Failed { class, retry: Retry::ByPolicy });
    }
}
