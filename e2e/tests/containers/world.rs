//! The words of the journeys, and where they take place here: by the gateway of the one platform that is up.

pub(crate) use e2e::world::{at_once, eventually, expect};

/// Runs a journey of `tests/platform` on the containers. One that needs other settings than theirs stays where it is.
macro_rules! journeys {
    ($($(#[settings($($setting:tt)*)])? async fn $name:ident($world:ident: &mut World) $body:block)*) => {$(
        crate::world::journeys!(@one [$($($setting)*)?] $name $world $body);
    )*};
    (@one [] $name:ident $world:ident $body:block) => {
        #[tokio::test]
        async fn $name() {
            async fn journey($world: &mut $crate::World) $body

            let Some(mut world) = $crate::World::in_containers().await else { return };
            journey(&mut world).await;
            world.finish();
        }
    };
    (@one [$($setting:tt)+] $name:ident $world:ident $body:block) => {
        #[expect(dead_code, reason = "it needs other settings, and runs elsewhere")]
        async fn $name($world: &mut $crate::World) $body
    };
}
pub(crate) use journeys;
