//! The catalogue: for everybody, without a token.

use actix_web::get;
use actix_web::web::{self, Data};
use serde::Deserialize;
use shared::problem::Problem;
use shared::request::{Path, Query};
use utoipa::IntoParams;
use uuid::Uuid;

use super::answers::{PageAnswer, ProductAnswer};
use super::refusals::{NotFound, Unavailable};
use crate::CartService;
use crate::rules::catalogue::Listing;
use crate::storage;

/// Texts as they stand in the query; [`Listing::read`] tells which of them is refused.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Words that must all occur in the name or the description, in any case.
    #[param(max_length = 100)]
    q: Option<String>,
    #[param(min_length = 1, max_length = 64, pattern = "^[a-z-]+$", example = "coffee")]
    category: Option<String>,
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20)]
    limit: Option<String>,
    /// The `next` of an earlier page.
    #[param(max_length = 1024)]
    cursor: Option<String>,
}

/// List products, in the order of their names.
#[utoipa::path(tag = "catalogue", operation_id = "list_products", security(()), params(ListQuery), responses(
    (status = 200, description = "A page of the catalogue", body = PageAnswer),
    (status = 400, description = "A parameter is refused", body = Problem, content_type = "application/problem+json"),
    Unavailable,
))]
#[get("/products")]
pub(super) async fn list(
    service: Data<CartService>,
    Query(query): Query<ListQuery>,
) -> Result<web::Json<PageAnswer>, Problem> {
    let ListQuery { q, category, limit, cursor } = query;
    let listing = Listing::read(q.as_deref(), category.as_deref(), limit.as_deref(), cursor.as_deref())?;
    let page = storage::products::list(&service.database, &listing).await?;
    Ok(web::Json(page.into()))
}

/// Show a product.
#[utoipa::path(tag = "catalogue", operation_id = "show_product", security(()), params(("id" = Uuid, Path)), responses(
    (status = 200, description = "The product", body = ProductAnswer),
    NotFound,
    Unavailable,
))]
#[get("/products/{id}")]
pub(super) async fn show(
    service: Data<CartService>,
    Path(id): Path<Uuid>,
) -> Result<web::Json<ProductAnswer>, Problem> {
    let product = storage::products::find(&service.database, id).await?;
    product.map(|product| web::Json(product.into())).ok_or_else(|| Problem::not_found("product"))
}
