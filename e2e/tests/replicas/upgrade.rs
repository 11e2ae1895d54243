//! A release is rolled out replica by replica: for a while, two releases work on the same tables. So migrations only add
//! (see "Migrations" in CONTRIBUTING.md), and a replica goes on, and starts, beside a newer one.

use e2e::Service;

use crate::World;
use crate::world::expect;

/// What the migration of a later release may do: new tables, columns that may be left out, indexes; and its entry among the
/// migrations that ran.
const LATER: [&str; 4] = [
    "CREATE TABLE of_a_later_release (id UUID PRIMARY KEY, note TEXT)",
    "ALTER TABLE TABLE_NAME ADD COLUMN of_a_later_release TEXT",
    "CREATE INDEX index_of_a_later_release ON TABLE_NAME (of_a_later_release)",
    "INSERT INTO _sqlx_migrations (version, description, installed_on, success, checksum, execution_time)
     VALUES (99990101000000, 'of a later release', now(), true, '\\x00', 1)",
];
const TABLES: [(Service, &[&str]); 3] = [
    (Service::Auth, &["users", "signing_keys", "audit"]),
    (Service::Cart, &["products", "carts", "cart_lines", "checkouts", "checkout_lines"]),
    (Service::Orders, &["orders", "test_charges"]),
];

/// Runs a later release's migration on the database of each service.
fn migrate_to_a_later_release(world: &World) {
    for (service, tables) in TABLES {
        let mut sql = world.platform.sql(service);
        for statement in LATER {
            let per_table = statement.contains("TABLE_NAME");
            for table in if per_table { tables } else { &[""][..] } {
                let statement = statement.replace("index_", &format!("index_{table}_")).replace("TABLE_NAME", table);
                sql.execute(&statement).unwrap_or_else(|error| panic!("{statement}: {error:#}"));
            }
        }
    }
}

/// Everything that a customer does.
async fn shop(world: &World, product: &str) {
    let before = world.stock(product).await;
    let mut ada = world.platform.customer().await;
    for round in 0..2 {
        expect(200, ada.add_to_cart(product, 1).await);
        let order = expect(201, ada.place_order(&format!("round-{round}")).await).body;
        let id = order["id"].as_str().expect("an id");
        assert_eq!(expect(200, ada.pay(id).await).body["status"], "paid");
        expect(200, ada.refresh().await);
    }
    assert_eq!(expect(200, ada.orders().await).body["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(world.stock(product).await, before - 2);
    expect(204, ada.log_out().await);
}

#[tokio::test]
async fn a_replica_goes_on_and_starts_beside_a_later_release() {
    let Some(mut world) = World::replicated(&[]).await else { return };
    let product = world.product(20).await;
    shop(&world, &product).await;

    // The first replicas of the new release have come up, and their migrations have run.
    migrate_to_a_later_release(&world);
    shop(&world, &product).await;

    // A replica of this release starts again: after a crash, or because the upgrade is taken back.
    for service in Service::ALL {
        world.platform.kill(service.replica(0));
        world.platform.restart(service.replica(0)).await;
        world.platform.restart(service.replica(1)).await;
    }
    shop(&world, &product).await;
    world.finish();
}

#[tokio::test]
async fn a_migration_that_was_changed_after_it_ran_stops_the_start() {
    let Some(mut world) = World::with_replicas([1, 2, 1], &[]).await else { return };
    let replica = Service::Cart.replica(1);
    world.platform.stop_service(replica);
    let changed = "UPDATE _sqlx_migrations SET checksum = '\\x00'";
    world.platform.sql(Service::Cart).execute(changed).expect("it is changed");
    let output = world.platform.command(Service::Cart).output().expect("the program starts");
    assert!(!output.status.success(), "it started on tables that another migration made");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("has been modified"), "{said}");
    world.finish();
}
