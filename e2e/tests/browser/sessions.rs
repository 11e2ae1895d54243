//! Sessions as a browser has them: in several tabs, ended from another browser, and confirmed before a payment.

use e2e::World;

use crate::chromium::{Chromium, given};

async fn steps_of(journey: &str, settings: &[(&str, &str)]) -> Option<Vec<String>> {
    let chromium = Chromium::for_test()?;
    let world = World::all_in_one(settings).await;
    let steps = chromium.walk("sessions.mjs", journey, &given(&world.platform, "en")).await;
    world.finish();
    Some(steps)
}

#[tokio::test]
async fn tabs_that_renew_at_once_all_stay_signed_in() {
    // Shorter than what a page is sure to need: each page view renews.
    let Some(steps) = steps_of("tabs", &[("ACCESS_TOKEN_TTL", "5s")]).await else { return };
    assert_eq!(steps, ["renewed at once in all tabs"]);
}

#[tokio::test]
async fn a_session_that_is_ended_in_another_browser_is_over_at_the_next_click() {
    let Some(steps) = steps_of("ended", &[]).await else { return };
    assert_eq!(steps, ["ended from another browser", "seen at the next click", "signed out at the shop"]);
}

#[tokio::test]
async fn a_payment_after_a_while_asks_for_the_password_and_goes_on() {
    // Long enough to pay in on a loaded machine.
    let Some(steps) = steps_of("confirmed", &[("STEP_UP_AFTER", "15s")]).await else { return };
    assert_eq!(steps, ["asked to confirm", "straight back to the payment"]);
}
