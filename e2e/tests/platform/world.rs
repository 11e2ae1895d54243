//! The words of the journeys, and where they take place: in one process and in three.

pub(crate) use e2e::world::{at_once, eventually, expect};

/// Writes a journey once, and runs it in one process and in three.
macro_rules! journeys {
    ($($(#[settings($($setting:expr => $value:expr),*)])? async fn $name:ident($world:ident: &mut World) $body:block)*) => {$(
        mod $name {
            use super::*;

            const SETTINGS: &[(&str, &str)] = &[$($(($setting, $value)),*)?];

            async fn journey($world: &mut $crate::World) $body

            #[tokio::test]
            async fn in_one_process() {
                let mut world = $crate::World::all_in_one(SETTINGS).await;
                journey(&mut world).await;
                world.finish();
            }

            #[tokio::test]
            async fn in_three_processes() {
                let Some(mut world) = $crate::World::split(SETTINGS).await else { return };
                journey(&mut world).await;
                world.finish();
            }
        }
    )*};
}
pub(crate) use journeys;
