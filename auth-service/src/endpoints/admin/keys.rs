//! Rotating the signing keys by hand.

use actix_web::{HttpResponse, post, web};
use serde::{Deserialize, Serialize};
use shared::problem::Problem;
use shared::request::Query;
use utoipa::{IntoParams, ToSchema};

use super::super::answers::{BadRequest, NotAllowed, Unauthorized, Unavailable};
use super::Administrator;
use crate::AuthService;
use crate::signing_keys::{KeyStatus, Rotate, SigningAlg};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RotateQuery {
    /// Only the keys of this algorithm.
    alg: Option<SigningAlg>,
    /// A private key is in a stranger's hands: the new key signs from now on, and all others are withdrawn.
    #[serde(default)]
    #[param(value_type = Option<bool>, default = false)]
    at_once: bool,
}

#[derive(Serialize, ToSchema)]
struct Rotated {
    /// The newest key of each algorithm.
    keys: Vec<KeyStatus>,
}

/// Make the next signing key of each algorithm. It is published first and signs later; one that is on its way already is
/// not overtaken.
#[utoipa::path(
    tag = "administration",
    security(("bearer" = [])),
    params(RotateQuery),
    responses((status = 200, description = "The newest keys", body = Rotated), BadRequest, Unauthorized, NotAllowed, Unavailable)
)]
#[post("/admin/keys/rotate")]
pub(in crate::endpoints) async fn rotate(
    service: web::Data<AuthService>,
    administrator: Administrator,
    Query(query): Query<RotateQuery>,
) -> Result<HttpResponse, Problem> {
    let how = if query.at_once { Rotate::AtOnce } else { Rotate::Planned };
    let rotated = service.keys.rotate(query.alg, how, &administrator.by).await;
    let keys = rotated.map_err(|error| Problem::unavailable("the key store", format!("{error:#}")))?;
    Ok(HttpResponse::Ok().json(Rotated { keys }))
}
