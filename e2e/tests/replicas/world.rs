//! The words of the journeys, and where they take place here: each request at the next of the gateway and the replicas.

pub(crate) use e2e::world::{at_once, eventually, expect};

/// Runs a journey of `tests/platform` on many replicas.
macro_rules! journeys {
    ($($(#[settings($($setting:expr => $value:expr),*)])? async fn $name:ident($world:ident: &mut World) $body:block)*) => {$(
        mod $name {
            use super::*;

            const SETTINGS: &[(&str, &str)] = &[$($(($setting, $value)),*)?];

            async fn journey($world: &mut $crate::World) $body

            #[tokio::test]
            async fn at_the_gateway_and_past_it() {
                let Some(mut world) = $crate::World::replicated(SETTINGS).await else { return };
                journey(&mut world).await;
                world.finish();
            }
        }
    )*};
}
pub(crate) use journeys;
