//! What an SDK error says, in a sentence that may go into a log: the operation, the code and the status. A service's own
//! message goes in only where it cannot repeat a token or a secret.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// An error of any operation.
pub(crate) type SdkError<E> = aws_smithy_runtime_api::client::result::SdkError<E, HttpResponse>;

/// The most that is kept of a service's message.
const MESSAGE: usize = 300;

/// The error code of a service's answer; none if there was no answer, or one without a code (HEAD).
pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// The HTTP status of the answer, if there was one.
pub(crate) fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The error with the service's message.
pub(crate) fn describe<E: ProvideErrorMetadata>(operation: &str, error: &SdkError<E>) -> String {
    let mut text = describe_code(operation, error);
    if let Some(message) = error.as_service_error().and_then(ProvideErrorMetadata::message) {
        text.push_str(": ");
        text.extend(message.chars().take(MESSAGE));
    }
    text
}

/// The error without the service's message, which can repeat what was sent.
pub(crate) fn describe_code<E: ProvideErrorMetadata>(operation: &str, error: &SdkError<E>) -> String {
    match error {
        SdkError::TimeoutError(_) => format!("{operation}: no answer in time"),
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(reason) if reason.is_timeout() => format!("{operation}: no answer in time"),
            Some(reason) if reason.is_io() => format!("{operation}: no connection"),
            _ => format!("{operation}: could not be sent"),
        },
        SdkError::ConstructionFailure(_) => format!("{operation}: the request could not be built"),
        SdkError::ResponseError(_) => format!("{operation}: the answer could not be read"),
        _ => match (code(error), status(error)) {
            (Some(code), Some(status)) => format!("{operation}: {code} (HTTP {status})"),
            (Some(code), None) => format!("{operation}: {code}"),
            (None, Some(status)) => format!("{operation}: HTTP {status}"),
            (None, None) => format!("{operation}: failed"),
        },
    }
}
