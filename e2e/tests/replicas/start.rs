//! Replicas that start together on empty databases take turns: what is made once is made once.

use e2e::{Entrance, Service};

use crate::World;
use crate::world::expect;

fn count(world: &World, service: Service, query: &str) -> String {
    let rows = world.platform.sql(service).execute(&format!("SELECT count(*) FROM {query}"));
    rows.expect("an answer").remove(0)
}

#[tokio::test]
async fn replicas_that_start_at_once_on_an_empty_database_make_tables_keys_and_users_once() {
    let Some(mut world) = World::with_replicas([4, 4, 1], &[]).await else { return };
    world.platform.enter_by(Entrance::Replicas);
    // One for each algorithm.
    assert_eq!(count(&world, Service::Auth, "signing_keys"), "3");
    let twice = "(SELECT alg FROM signing_keys GROUP BY alg HAVING count(*) > 1) AS twice";
    assert_eq!(count(&world, Service::Auth, twice), "0");
    assert_eq!(count(&world, Service::Auth, "users WHERE roles LIKE '%admin%'"), "1");
    for service in Service::ALL {
        assert_eq!(count(&world, service, "_sqlx_migrations WHERE NOT success"), "0");
    }
    // The catalogue was filled once: no product stands in it twice.
    assert_ne!(count(&world, Service::Cart, "products"), "0");
    let twice = "(SELECT name FROM products GROUP BY name HAVING count(*) > 1) AS twice";
    assert_eq!(count(&world, Service::Cart, twice), "0");

    // The one administrator signs in at each replica, with the one key that all replicas publish.
    for _ in 0..4 {
        let admin = world.admin().await;
        for _ in 0..4 {
            expect(200, admin.get(&admin.url(Service::Auth, "/admin/sessions")).await);
            expect(200, admin.cart().await);
        }
    }
    world.finish();
}

#[tokio::test]
async fn the_first_administrators_made_up_password_is_printed_by_one_replica_alone() {
    let Some(mut world) = World::with_replicas([3, 1, 1], &[("ADMIN_PASSWORD", "")]).await else { return };
    let output = world.platform.output();
    let told: Vec<&str> = output.lines().filter(|line| line.contains("with the password")).collect();
    assert_eq!(told.len(), 1, "printed {} times", told.len());
    let password = told[0].rsplit(' ').next().expect("a word");
    let mut admin = world.platform.person_with(world.platform.admin());
    admin.credentials.password = password.to_owned();
    expect(200, admin.log_in().await);
    world.platform.stop();
    // It stood there on purpose; nothing else may.
    let shown = admin.credentials.password.clone();
    world.platform.take_from_output(&shown);
    world.platform.assert_no_secret_in_output();
}
