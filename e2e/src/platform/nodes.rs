//! All-in-one nodes behind a gateway: each a process with all three services, and all on the same databases and keys.

use super::{Database, Platform, Running, launch_gateway, new_database, port, program, secret};
use crate::servers::GatewayPorts;
use crate::services::Service;

/// The setting that names the database of each service, in the order of [`Service::ALL`].
const DATABASES: [&str; 3] = ["AUTH_DATABASE_URL", "CART_DATABASE_URL", "ORDER_DATABASE_URL"];

impl Platform {
    /// So many nodes, with new databases on the PostgreSQL at `postgres`, and a gateway before them. Replica `number` of any
    /// service is the node of that number. `settings` are added to the environment of all nodes and of the gateway, and
    /// win. People come by every entrance in turn; see [`Platform::enter_by`].
    ///
    /// # Panics
    /// One is not ready in time; the message holds what it printed.
    pub async fn nodes(postgres: &str, count: usize, settings: &[(&str, &str)]) -> Self {
        let mut platform = Self::unstarted();
        platform.databases = Service::ALL.map(|service| (service, new_database(postgres, service))).into();
        let gateway = GatewayPorts { outer: port(), inner: port() };
        let cluster: Vec<String> = (0..count).map(|_| format!("127.0.0.1:{}", port())).collect();
        let of_all = platform.settings_of_all(gateway, &cluster);
        for (number, listen) in cluster.iter().enumerate() {
            let node = platform.node(number, listen, &of_all, settings);
            platform.processes.push(node);
        }
        platform.start_all().await;
        platform.gateway = Some(launch_gateway(&platform, gateway, settings));
        platform
    }

    fn settings_of_all(&self, gateway: GatewayPorts, cluster: &[String]) -> Vec<(&'static str, String)> {
        let public = |service: Service| format!("http://{}:{}", service.host(), gateway.outer);
        let mut all = vec![
            ("ISSUER", public(Service::Auth)),
            ("SHOP_URL", public(Service::Cart)),
            ("ORDERS_URL", public(Service::Orders)),
            ("TRUSTED_PROXIES", "127.0.0.1".to_owned()),
            ("DEMO_EMAIL", self.demo.email.clone()),
            ("DEMO_PASSWORD", self.demo.password.clone()),
            ("CLUSTER_SEEDS", cluster.join(",")),
        ];
        let keys = [
            "CLUSTER_KEY",
            "MASTER_KEY",
            "COOKIE_KEY",
            "CHECKOUT_SECRET",
            "SHOP_CLIENT_SECRET",
            "ORDERS_CLIENT_SECRET",
        ];
        all.extend(keys.map(|name| (name, secret())));
        all.extend(self.first_administrator());
        let url = |(_, database): &(Service, Database)| database.url.clone();
        all.extend(DATABASES.into_iter().zip(self.databases.iter().map(url)));
        all
    }

    fn node(
        &self,
        number: usize,
        listen: &str,
        of_all: &[(&'static str, String)],
        settings: &[(&str, &str)],
    ) -> Running {
        let name = format!("node-{}", number + 1);
        let listeners = Service::ALL.map(|service| (service, port()));
        let mut all: Vec<(&str, String)> = of_all.to_vec();
        all.extend(
            listeners.map(|(service, port): (Service, u16)| (service.address_setting(), format!("127.0.0.1:{port}"))),
        );
        all.push(("DATA_DIR", self.folder.path().join(&name).display().to_string()));
        all.push(("CLUSTER_LISTEN", listen.to_owned()));
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let output = self.output_folder().join(format!("{name}.log"));
        Running::new(name, program("all-in-one"), listeners.to_vec(), all, output)
    }
}
