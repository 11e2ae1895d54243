//! The list at a client's `sector_identifier_uri`, which must hold all of its redirect URIs (OpenID Connect Registration
//! 1.0, section 5).

use super::fetch::{Fetch, Reach};
use super::{InvalidMetadata, Metadata};

/// Reads the list, where one is named, and looks for the redirect URIs in it.
///
/// # Errors
/// It cannot be read, or one of them is not in it.
pub async fn check(fetch: &Fetch, metadata: &Metadata, reach: Reach) -> Result<(), InvalidMetadata> {
    let Some(address) = &metadata.sector_identifier_uri else { return Ok(()) };
    let refused = |detail: String| InvalidMetadata::at("sector_identifier_uri", detail);
    let document = fetch.json(address, reach).await.map_err(|error| refused(error.to_string()))?;
    let listed: Vec<String> =
        serde_json::from_value(document).map_err(|_| refused("the document there is no array of texts".to_owned()))?;
    let missing = metadata.redirect_uris.iter().position(|uri| !listed.iter().any(|listed| listed == uri.as_str()));
    match missing {
        Some(index) => Err(refused(format!("the document there does not hold /redirect_uris/{index}"))),
        None => Ok(()),
    }
}
