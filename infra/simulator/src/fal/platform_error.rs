//! Errors of fal's platform, not of a model: their types, statuses and messages, after the page on request errors of fal's
//! documentation.

use serde::{Deserialize, Serialize};

/// An infrastructure error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlatformError {
    RequestTimeout,
    StartupTimeout,
    RunnerSchedulingFailure,
    RunnerConnectionTimeout,
    RunnerDisconnected,
    RunnerConnectionRefused,
    RunnerConnectionError,
    RunnerIncompleteResponse,
    RunnerServerError,
    ClientDisconnected,
    ClientCancelled,
    BadRequest,
    InternalError,
}

impl PlatformError {
    /// The value of `error_type` and `X-Fal-Error-Type`.
    pub(crate) fn error_type(self) -> &'static str {
        self.row().0
    }

    /// The text of `detail` and `error`.
    pub(crate) fn message(self) -> &'static str {
        self.row().2
    }

    /// The HTTP status.
    pub(crate) fn status(self) -> u16 {
        self.row().1
    }

    /// Whether a retry may succeed: yes for errors of runners and platform, no for the caller's own.
    pub(crate) fn is_retryable(self) -> bool {
        use PlatformError::{BadRequest, ClientCancelled, ClientDisconnected, RequestTimeout};
        !matches!(self, RequestTimeout | ClientDisconnected | ClientCancelled | BadRequest)
    }

    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::RequestTimeout => ("request_timeout", 504, "Request timed out before processing started"),
            Self::StartupTimeout => ("startup_timeout", 504, "Runner startup timed out"),
            Self::RunnerSchedulingFailure => ("runner_scheduling_failure", 503, "Failed to schedule a runner"),
            Self::RunnerConnectionTimeout => ("runner_connection_timeout", 503, "Connection to the runner timed out"),
            Self::RunnerDisconnected => ("runner_disconnected", 503, "Runner disconnected unexpectedly"),
            Self::RunnerConnectionRefused => ("runner_connection_refused", 503, "Runner refused the connection"),
            Self::RunnerConnectionError => ("runner_connection_error", 503, "Connection to the runner failed"),
            Self::RunnerIncompleteResponse => ("runner_incomplete_response", 502, "Runner sent an incomplete response"),
            Self::RunnerServerError => ("runner_server_error", 500, "Runner failed with an internal error"),
            Self::ClientDisconnected => ("client_disconnected", 499, "Client disconnected before the response"),
            Self::ClientCancelled => ("client_cancelled", 499, "Request was cancelled by the client"),
            Self::BadRequest => ("bad_request", 400, "The request could not be handled"),
            Self::InternalError => ("internal_error", 500, "Internal error"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_in_json_is_the_error_type() {
        for kind in [PlatformError::RunnerDisconnected, PlatformError::RequestTimeout, PlatformError::InternalError] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.error_type());
        }
    }
}
