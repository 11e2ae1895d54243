//! The refusals that several endpoints share, for the API documents.

use shared::problem::Problem;

macro_rules! refusals {
    ($($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $status:literal),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(utoipa::IntoResponses)]
        #[expect(dead_code, reason = "only the documents are made from it")]
        pub(super) enum $name {$(
            $(#[$variant_meta])*
            #[response(status = $status, content_type = "application/problem+json")]
            $variant(Problem),
        )*}
    )*};
}

refusals! {
    /// Of every endpoint.
    Refusals {
        /// The request cannot be read: its headers, query or JSON.
        BadRequest = 400,
        /// No access token, or one that is refused: `WWW-Authenticate` says why (RFC 6750).
        Unauthorized = 401,
        /// Something that is needed does not answer; `Retry-After` says when to try again.
        Unavailable = 503,
    }

    /// Of an endpoint that takes a body.
    BodyRefusals {
        /// The body is larger than 64 KiB.
        TooLarge = 413,
        /// The body is not sent as `application/json`.
        UnsupportedMediaType = 415,
        /// A field of the body is refused; `errors` points at it.
        Unprocessable = 422,
    }

    /// Of an endpoint about one order.
    OrderRefusals {
        /// There is no such order of the caller's.
        NotFound = 404,
    }
}
