//! Apache with mod_auth_openidc, which signs people in before any application: its manual's configuration, in a temporary
//! folder, and pages that show what the module tells of a person.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use e2e::process::{Process, free_port, mortal, wait_until};
use e2e::servers::apache_for_test;
use e2e::{probe, secrets};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::application::{Home, Library, SignOut, is_used, registered};
use crate::place::Place;

const PATIENCE: Duration = Duration::from_secs(30);
/// Those that the configuration names, and those that print what the module tells.
const MODULES: [&str; 9] =
    ["mpm_event", "authn_core", "authz_core", "authz_user", "alias", "dir", "mime", "include", "auth_openidc"];
const LIBRARY: Library = Library {
    callback: "/redirect_uri",
    after_logout: Some("/signed-out.html"),
    backchannel_logout: Some("/redirect_uri?logout=backchannel"),
    knows: &["name", "email", "username"],
    sign_out: SignOut::Everywhere,
    refreshes: true,
};

struct Apache {
    home: Home,
    // Declared before its folder: it is gone first.
    process: Process,
    _folder: TempDir,
}

impl Drop for Apache {
    fn drop(&mut self) {
        // Not killed at once: it removes what it shares. A stop that fails ends in the kill of the process's own drop.
        let _ = self.process.stop(Signal::TERM, PATIENCE);
    }
}

impl Apache {
    /// None, aloud, where it is not installed.
    async fn for_test(place: &Place) -> Option<Self> {
        let (program, modules) = apache_for_test()?;
        let port = free_port().expect("a free port");
        let home = Home::at_port(port);
        let client = registered(place, &home, &LIBRARY).await;
        let folder = tempfile::tempdir().expect("a folder");
        // Where we are root, Apache serves as somebody else.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it can be read");
        write_pages(folder.path(), &home);
        let configuration = folder.path().join("apache.conf");
        let text = configured(folder.path(), &modules, port) + &protected(place, &home, &client);
        fs::write(&configuration, text).expect("it is written");
        let mut command = mortal(&program, "TERM");
        // One process, so that none is left when it is killed.
        command.args(["-X", "-f"]).arg(&configuration);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process::start("Apache", command).expect("it can be started");
        let answers = wait_until(PATIENCE, || {
            Ok(process.ended()?.is_none() && probe::get(port, "/signed-out.html").is_ok_and(|it| it.status == 200))
        });
        let said = || fs::read_to_string(folder.path().join("error.log")).unwrap_or_default();
        assert!(answers.expect("the system tells"), "Apache does not answer: {}", said());
        Some(Self { home, process, _folder: folder })
    }
}

/// What any site of Apache's has.
fn configured(folder: &Path, modules: &Path, port: u16) -> String {
    let (folder, modules) = (folder.display(), modules.display());
    let mut text = format!(
        "ServerRoot {folder}\nServerName localhost\nDefaultRuntimeDir {folder}\nPidFile {folder}/pid\n\
         ErrorLog {folder}/error.log\nListen 127.0.0.1:{port}\nUser \"#65534\"\nGroup \"#65534\"\n\
         ThreadsPerChild 8\nMaxRequestWorkers 8\nServerLimit 1\n"
    );
    for name in MODULES {
        let _ = writeln!(text, "LoadModule {name}_module {modules}/mod_{name}.so");
    }
    text + &format!(
        "DocumentRoot {folder}/pages\nDirectoryIndex index.shtml\nTypesConfig /dev/null\n\
         AddType text/html .html .shtml\nAddOutputFilter INCLUDES .shtml\n\
         <Directory {folder}/pages>\nOptions +Includes\n</Directory>\n"
    )
}

/// What the module is told: the provider, the client, and who gets in.
fn protected(place: &Place, home: &Home, client: &Value) -> String {
    let text = |name: &str| client[name].as_str().expect("a text").to_owned();
    format!(
        "OIDCProviderMetadataURL {}/.well-known/openid-configuration\nOIDCClientID {}\nOIDCClientSecret {}\n\
         OIDCRedirectURI {}\nOIDCCryptoPassphrase a-passphrase-of-this-site\n\
         OIDCScope \"openid profile email offline_access\"\nOIDCRemoteUserClaim preferred_username\n\
         <Location />\nAuthType openid-connect\nRequire valid-user\n</Location>\n\
         <Location /fresh.shtml>\nOIDCRefreshAccessTokenBeforeExpiry 600\n</Location>\n\
         <Location /signed-out.html>\nAuthType None\nRequire all granted\n</Location>\n",
        place.issuer(),
        text("client_id"),
        text("client_secret"),
        home.at(LIBRARY.callback),
    )
}

fn write_pages(folder: &Path, home: &Home) {
    let shown = |name: &str, variable: &str| format!("<li>{name}: <!--#echo var=\"{variable}\" --></li>");
    let rows =
        shown("name", "OIDC_CLAIM_name") + &shown("email", "OIDC_CLAIM_email") + &shown("username", "REMOTE_USER");
    let after = home.at("/signed-out.html").replace(':', "%3A").replace('/', "%2F");
    let index = format!("<main><ul>{rows}</ul><a href=\"/redirect_uri?logout={after}\">Sign out</a></main>");
    let pages = folder.join("pages");
    fs::create_dir(&pages).expect("it is made");
    for (name, text) in [
        ("index.shtml", index.as_str()),
        ("fresh.shtml", "<!--#echo var=\"OIDC_access_token\" -->"),
        ("signed-out.html", "<main>Signed out.</main>"),
    ] {
        fs::write(pages.join(name), text).expect("it is written");
    }
}

#[tokio::test]
async fn mod_auth_openidc_signs_a_person_in_and_out() {
    let place = Place::in_one_process().await;
    let Some(apache) = Apache::for_test(&place).await else { return };
    is_used(&place, &apache.home, &Library { refreshes: false, ..LIBRARY }).await;
    place.finish();
}

#[tokio::test]
async fn mod_auth_openidc_renews_an_access_token() {
    let place = Place::in_one_process().await;
    let Some(apache) = Apache::for_test(&place).await else { return };
    let mut browser = place.browser();
    apache.home.is_entered(&mut browser, &place.person).await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let token = browser.reads(&apache.home.at("/fresh.shtml")).await;
        assert_eq!(token.split('.').count(), 3, "no access token: {token}");
        secrets::remember(&token);
        tokens.push(token);
    }
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2], "the same access token");
    place.finish();
}

#[tokio::test]
async fn mod_auth_openidc_hears_of_a_sign_out_elsewhere() {
    let place = Place::in_one_process().await;
    let Some(apache) = Apache::for_test(&place).await else { return };
    let mut browser = place.browser();
    apache.home.is_entered(&mut browser, &place.person).await;
    browser.opens(&format!("{}/oauth2/logout", place.issuer())).await;
    let before = browser.filled.len();
    let started = Instant::now();
    while browser.filled.len() == before {
        assert!(started.elapsed() < PATIENCE, "Apache was not told");
        tokio::time::sleep(Duration::from_millis(20)).await;
        browser.opens(&apache.home.at("/")).await;
    }
    assert_eq!(browser.filled[before..], ["/sign-in"]);
    place.finish();
}
