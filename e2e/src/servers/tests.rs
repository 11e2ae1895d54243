use super::*;

fn numbers(server: &PrivatePostgres) -> Vec<String> {
    let mut session = server.session().expect("it answers");
    session.execute("SELECT number FROM numbers ORDER BY number").expect("the table is there")
}

#[test]
fn a_postgres_that_was_stopped_or_killed_starts_again_with_its_data() {
    let Some(mut server) = postgres_for_test() else { return };
    let url = server.url();
    let mut session = server.session().expect("it answers");
    session.execute("CREATE TABLE numbers (number BIGINT)").expect("a table is made");
    session.execute("INSERT INTO numbers VALUES (7)").expect("a row is written");
    server.stop().expect("it stops");
    assert!(server.session().is_err(), "it still answers");
    server.start().expect("it starts again");
    assert_eq!(numbers(&server), ["7"]);
    server.kill().expect("it is killed");
    server.start().expect("it recovers");
    assert_eq!(numbers(&server), ["7"]);
    assert_eq!(server.url(), url);
}

#[test]
fn what_postgres_refuses_is_told_and_the_session_goes_on() {
    let Some(server) = postgres_for_test() else { return };
    let mut session = server.session().expect("it answers");
    let refusal = session.execute("SELECT 1/0").expect_err("it refuses").to_string();
    assert!(refusal.contains("division by zero"), "{refusal}");
    assert_eq!(session.execute("SHOW max_connections").expect("it answers"), ["400"]);
    assert_eq!(session.execute("SELECT lower('ÄÖ')::text || NULL").expect("it answers"), [""]);
}

#[test]
fn a_durable_redis_keeps_its_data_and_another_forgets() {
    let Some(mut forgets) = redis_for_test() else { return };
    let mut keeps = PrivateRedis::launch_durable().expect("it starts");
    for (server, expected) in [(&mut forgets, ":0"), (&mut keeps, ":1")] {
        assert_eq!(server.ask("SET name value").expect("it answers"), "+OK");
        server.stop().expect("it stops");
        assert!(server.ask("PING").is_err(), "it still answers");
        server.start().expect("it starts again");
        assert_eq!(server.ask("DBSIZE").expect("it answers"), expected);
    }
    keeps.kill().expect("it is killed");
    keeps.start().expect("it starts again");
    assert_eq!(keeps.ask("DBSIZE").expect("it answers"), ":1");
}

#[test]
fn a_private_redis_never_evicts_and_has_many_databases() {
    let Some(server) = redis_for_test() else { return };
    assert_eq!(server.ask("SELECT 4999").expect("it answers"), "+OK");
    let refusal = server.ask("CONFIG SET databases 1").expect("it answers");
    assert!(refusal.starts_with('-'), "{refusal}");
    // A memory limit of nothing: a write is refused, where another policy would drop a key.
    assert_eq!(server.ask("SET name value").expect("it answers"), "+OK");
    assert_eq!(server.ask("CONFIG SET maxmemory 1").expect("it answers"), "+OK");
    let refusal = server.ask("SET another value").expect("it answers");
    assert!(refusal.starts_with("-OOM"), "{refusal}");
    assert_eq!(server.ask("GET name").expect("it answers"), "$5");
}

#[test]
fn a_frozen_redis_answers_once_it_goes_on() {
    let Some(mut server) = redis_for_test() else { return };
    server.freeze().expect("it freezes");
    assert!(server.ask("PING").is_err());
    server.thaw().expect("it goes on");
    assert_eq!(server.ask("PING").expect("it answers"), "+PONG");
}

#[test]
fn a_kept_postgres_and_a_kept_redis_ask_for_their_password_and_keep_their_data() {
    let Some(_) = for_test(postgres_folder().map_err(anyhow::Error::from)) else { return };
    let Some(_) = for_test(redis_server().map_err(anyhow::Error::from)) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    // Whom the servers run as passes through.
    let passable = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(folder.path(), passable).expect("it is ours");
    let (postgres_files, redis_files) = (folder.path().join("postgres"), folder.path().join("redis"));
    for row in ["1", "2"] {
        let mut postgres = PrivatePostgres::launch_kept(&postgres_files, "pass-1").expect("it starts");
        let mut session = postgres.session().expect("it knows its password");
        session.execute("CREATE TABLE IF NOT EXISTS rows (row BIGINT)").expect("a table is made");
        session.execute("INSERT INTO rows VALUES (1)").expect("a row is written");
        assert_eq!(session.execute("SELECT count(*) FROM rows").expect("it answers"), [row]);
        assert_eq!(session.execute("SHOW fsync").expect("it answers"), ["on"], "it is kept, so it is written");
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], postgres.port()));
        for wrong in [None, Some("pass-2")] {
            assert!(SqlSession::begin_with(address, "postgres", "postgres", wrong).is_err(), "{wrong:?} was taken");
        }
        postgres.stop().expect("it stops");

        let mut redis = PrivateRedis::launch_kept(&redis_files, "pass-1").expect("it starts");
        assert_eq!(redis.ask("INCR rows").expect("it answers"), format!(":{row}"));
        let mut stranger = std::net::TcpStream::connect(("127.0.0.1", redis.port())).expect("it listens");
        std::io::Write::write_all(&mut stranger, b"GET rows\r\n").expect("it hears");
        let mut answer = [0; 7];
        std::io::Read::read_exact(&mut stranger, &mut answer).expect("it answers");
        assert_eq!(&answer, b"-NOAUTH");
        redis.stop().expect("it stops");
    }
}

#[test]
fn a_gateway_without_replicas_says_so_and_ends_with_its_nginx() {
    let Some(()) = gateway_for_test() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let port = || crate::process::free_port().expect("a free port");
    let ports = GatewayPorts { outer: port(), inner: port() };
    let replicas = [vec![port()], vec![port()], vec![port()]];
    let mut gateway = Gateway::launch(ports, &replicas, &folder.path().join("log"), &[]).expect("it starts");
    assert_eq!(crate::probe::get(ports.outer, "/").expect("an answer").status, 421, "localhost is no host of it");
    gateway.stop().expect("it stops");
    assert!(crate::probe::get(ports.outer, "/").is_err(), "nginx still listens");
    assert!(gateway.said().contains("listening on"), "{}", gateway.said());
}

#[test]
fn a_cluster_is_whole_and_a_killed_primary_is_replaced() {
    let Some(mut cluster) = redis_cluster_for_test() else { return };
    let before = cluster.primary_of("name").expect("a primary");
    let replica = cluster.replica_of(before).expect("it has one");
    cluster.kill(before).expect("it is killed");
    let replaced = crate::process::wait_until(std::time::Duration::from_secs(30), || {
        Ok(cluster.primary_of("name").is_ok_and(|now| now == replica))
    });
    assert!(replaced.expect("it is asked"), "its replica does not take over");
    cluster.start(before).expect("it starts again");
    cluster.wait_until_whole().expect("it is a replica now");
}

#[test]
fn sentinels_replace_a_killed_master() {
    let Some(mut sentinels) = sentinels_for_test() else { return };
    let before = sentinels.master().expect("a master");
    sentinels.kill(before).expect("it is killed");
    let replaced = crate::process::wait_until(std::time::Duration::from_secs(30), || {
        Ok(sentinels.master().is_ok_and(|now| now != before))
    });
    assert!(replaced.expect("they are asked"), "the replica does not take over");
    sentinels.start(before).expect("it starts again");
    sentinels.wait_until_whole().expect("it is a replica now");
}
