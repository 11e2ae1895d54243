//! Placing an order: record the intent, have the stock held, record what is held, confirm the hold.

use std::time::{Duration, Instant};

use actix_web::http::StatusCode;
use actix_web::http::header::WWW_AUTHENTICATE;
use shared::problem::Problem;
use shared::session::UserId;
use uuid::Uuid;

use super::{Settled, count_order, refused_move, unavailable};
use crate::OrderService;
use crate::cart::{Authorization, CartError};
use crate::rules::idempotency_key::IdempotencyKey;
use crate::rules::lines::{Reservation, Seen};
use crate::rules::order::Order;
use crate::rules::order_limits::Exceeded;
use crate::rules::order_status::{OrderStatus, Step};
use crate::rules::recovery::{LEASE, PLACING_PATIENCE};
use crate::rules::request::OrderRequest;
use crate::storage::attempts::{self, Begun, NewOrder, Resumed};
use crate::storage::orders;

/// How long a repeat waits for the one that is at work under the same key: until it may take over from one that has died.
const PATIENCE: Duration = LEASE.saturating_add(Duration::from_secs(2));
const FIRST_LOOK: Duration = Duration::from_millis(15);
const LAST_LOOK: Duration = Duration::from_millis(200);

/// After a refusal for abandoned orders: they count for a day, and each drops out by itself.
const ABANDONED_PAUSE: Duration = Duration::from_secs(3_600);

const REPEAT: &str = "the order is not placed yet; repeat the request with the same Idempotency-Key";

impl OrderService {
    /// Places an order of what is in the user's cart, once for a key: repeats, however many at once, get the order that
    /// the first one placed. An attempt that came to nothing frees its key.
    ///
    /// With `seen`, only what was seen is ordered: the cart may change until its stock is held.
    ///
    /// # Errors
    /// 409 `idempotency_key_reused` for the same key with another request, `too_many_unpaid_orders`, `cart_empty`, `cart_changed`,
    /// `insufficient_stock`, `checkout_expired`; 429 `too_many_abandoned_orders`; 503 while the cart service does not answer: the same key then goes on where it stopped.
    pub async fn place(
        &self,
        user: UserId,
        authorization: &Authorization,
        key: &IdempotencyKey,
        request: &OrderRequest,
        seen: Option<&Seen>,
    ) -> Result<Order, Problem> {
        let (started, mut look) = (Instant::now(), FIRST_LOOK);
        loop {
            let Some(order) = orders::find_by_key(&self.database, user, key).await? else {
                match self.begin(user, key, request).await? {
                    Begun::New(order) => return self.drive(*order, authorization, seen).await,
                    Begun::KeyTaken => continue,
                    Begun::Refused(exceeded) => return Err(self.too_many(exceeded)),
                }
            };
            if order.request_hash != request.hash() {
                let detail = "this Idempotency-Key was used with another body; take a new one for a new order";
                return Err(Problem::conflict("idempotency_key_reused", detail));
            }
            if order.placed_at.is_some() {
                return Ok(order);
            }
            match self.resume(&order).await? {
                Resumed::Leased => return self.drive(order, authorization, seen).await,
                Resumed::Busy => {}
                Resumed::Refused(exceeded) => return Err(self.too_many(exceeded)),
            }
            if started.elapsed() > PATIENCE {
                return Err(unavailable("another request with the same key is at work", REPEAT));
            }
            tokio::time::sleep(look).await;
            look = (look * 2).min(LAST_LOOK);
        }
    }

    async fn begin(&self, user: UserId, key: &IdempotencyKey, request: &OrderRequest) -> Result<Begun, Problem> {
        let created_at = self.clock.now();
        let new = NewOrder {
            id: Uuid::new_v4(),
            user,
            key,
            request,
            created_at,
            leased_until: self.lease(),
            next_attempt_at: created_at + PLACING_PATIENCE,
        };
        Ok(attempts::begin(&self.database, &new, self.limits).await?)
    }

    async fn resume(&self, order: &Order) -> Result<Resumed, Problem> {
        let (now, lease) = (self.clock.now(), self.lease());
        if order.status == OrderStatus::Placing {
            return Ok(attempts::resume(&self.database, order, now, lease, self.limits).await?);
        }
        // What is held for it counts already.
        let taken = orders::take_lease(&self.database, order, now, lease).await?;
        Ok(if taken { Resumed::Leased } else { Resumed::Busy })
    }

    fn too_many(&self, exceeded: Exceeded) -> Problem {
        match exceeded {
            Exceeded::Unpaid => {
                count_order("too_many_unpaid");
                let most = self.limits.unpaid;
                let detail = format!(
                    "at most {most} of your orders may be unpaid: pay one or cancel one, then repeat this request"
                );
                Problem::conflict("too_many_unpaid_orders", detail)
            }
            Exceeded::Abandoned => {
                count_order("too_many_abandoned");
                let most = self.limits.abandoned;
                let detail = format!(
                    "{most} of your orders of the last 24 hours came to nothing, and each counts for 24 hours; try again later"
                );
                Problem::too_many_requests("too_many_abandoned_orders", detail, ABANDONED_PAUSE)
            }
        }
    }

    /// Goes on from wherever an attempt stands. The lease is the caller's.
    async fn drive(&self, order: Order, authorization: &Authorization, seen: Option<&Seen>) -> Result<Order, Problem> {
        if order.status != OrderStatus::Placing {
            return self.confirm(order).await;
        }
        match self.cart.check_out(order.id, authorization).await {
            Ok(held) if seen.is_some_and(|seen| *seen != Seen::of(&held.lines)) => {
                self.fail(&order, "cart_changed").await?;
                self.release_unordered(&order, &held).await;
                Err(Problem::conflict("cart_changed", "the cart is not what was seen any more; nothing was ordered"))
            }
            Ok(held) => self.reserve(order, held).await,
            Err(CartError::Refused(refusal)) => {
                self.fail(&order, "refused").await?;
                let problem = Problem::conflict(refusal.code, refusal.detail);
                Err(refusal.errors.into_iter().fold(problem, |problem, (pointer, why)| problem.at(pointer, why)))
            }
            Err(CartError::Released) => {
                self.fail(&order, "expired").await?;
                Err(checkout_expired())
            }
            Err(CartError::Unauthenticated) => {
                // The cart service may hold the stock from an earlier call: with a fresh token a repeat finds it.
                self.give_back_attempt(&order).await;
                Err(credential_refused())
            }
            Err(CartError::Unavailable(cause)) => {
                self.give_back_attempt(&order).await;
                count_order("unavailable");
                Err(unavailable(cause, REPEAT))
            }
        }
    }

    async fn reserve(&self, order: Order, reservation: Reservation) -> Result<Order, Problem> {
        let transition = order.status.after(Step::Reserve).map_err(refused_move)?;
        let reserved = match orders::reserve(&self.database, &order, transition, &reservation).await? {
            Some(reserved) => reserved,
            None => self.reload(&order).await?,
        };
        if reserved.status == OrderStatus::Failed {
            // Recovery gave the attempt up while the answer was on its way: no other request confirms this hold.
            self.release_unordered(&order, &reservation).await;
            return Err(checkout_expired());
        }
        self.confirm(reserved).await
    }

    async fn release_unordered(&self, order: &Order, held: &Reservation) {
        if let Err(error) = self.cart.release(&held.checkout_id).await {
            tracing::warn!(order = %order.id, %error, "a hold without an order was not released; it ends by itself");
        }
    }

    /// Confirms the hold of a reserved order, which places it.
    ///
    /// # Errors
    /// 409 `checkout_expired` when the hold has ended: then the order has failed, and its stock is back. 503 when the
    /// cart service does not answer.
    pub(super) async fn confirm(&self, order: Order) -> Result<Order, Problem> {
        if order.placed_at.is_some() {
            return Ok(order);
        }
        let Some(reservation) = &order.reservation else {
            return Err(Problem::internal(format!("the order {} is {} without a hold", order.id, order.status)));
        };
        match self.cart.confirm(&reservation.checkout_id).await {
            Ok(()) => {
                let transition = order.status.after(Step::Place).map_err(refused_move)?;
                let settled = self.settle(&order, transition).await?;
                if matches!(settled, Settled::Moved(_)) {
                    count_order("placed");
                }
                let order = settled.into_order();
                if order.placed_at.is_some() { Ok(order) } else { Err(checkout_expired()) }
            }
            Err(CartError::Released) => {
                self.fail(&order, "expired").await?;
                Err(checkout_expired())
            }
            Err(error) => {
                self.put_off(&order).await;
                count_order("unavailable");
                Err(unavailable(error, REPEAT))
            }
        }
    }

    /// The attempt came to nothing, and its key is free again.
    pub(super) async fn fail(&self, order: &Order, outcome: &'static str) -> Result<(), Problem> {
        let transition = order.status.after(Step::Fail).map_err(refused_move)?;
        if matches!(self.settle(order, transition).await?, Settled::Moved(_)) {
            count_order(outcome);
        }
        Ok(())
    }

    /// Lets the next repeat go on at once; recovery gives the attempt up only when its time has come.
    async fn give_back_attempt(&self, order: &Order) {
        if let Err(error) = orders::put_off(&self.database, order, order.next_attempt_at).await {
            tracing::warn!(order = %order.id, %error, "an attempt could not be given back; its lease ends by itself");
        }
    }
}

fn checkout_expired() -> Problem {
    let detail = "the stock was held too long and is free again; look at the cart and place the order again";
    Problem::conflict("checkout_expired", detail)
}

/// 401 as the cart service answered it (RFC 6750, section 3.1).
fn credential_refused() -> Problem {
    let detail = "the cart service refuses the access token; refresh it and repeat with the same Idempotency-Key";
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_token", detail)
        .header(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")
}
