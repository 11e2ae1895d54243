//! Secrets that stand in messages, documents and templates, and were copied as they are. Rules only.

/// What messages of releases before have printed as examples: everybody knows them.
const PRINTED: [&str; 5] = [
    "0123456789abcdef0123456789abcdef",
    "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "IyXbwLh1AqGFbYDl4n+H9dTXyXtYdQm2tMXHnu5sKbY=",
    "the-output-of--openssl-rand-hex-32",
    "the-secret-that-the-auth-service-gave-to-the-client",
];

/// What is wrong with a secret that is an example, a command that was not run, or a name in capitals. Of several with
/// commas between, each is looked at.
pub(super) fn mistake(secret: &str) -> Option<&'static str> {
    let parts = || secret.split(',').map(str::trim);
    if secret.contains("$(") || secret.contains("openssl rand") {
        return Some("expected the output of the command, found the command itself");
    }
    if parts().any(|part| PRINTED.contains(&part)) {
        return Some("expected a secret of your own, found one that is printed as an example");
    }
    parts().any(is_name).then_some("expected a secret, found the name of one in its place")
}

/// The same of a URL, whose password is looked at.
pub(super) fn mistake_in_url(url: &str) -> Option<&'static str> {
    let has_name = url.contains(":PASSWORD@") || url.contains("assword=PASSWORD");
    has_name.then_some("expected your own password in the place of PASSWORD")
}

/// As a template names what belongs there: `MASTER_KEY`.
fn is_name(text: &str) -> bool {
    text.contains('_') && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_copied_is_no_secret() {
        let old = format!("6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g=,{}", PRINTED[1]);
        for copied in ["$(openssl rand -hex 32)", "the output of `openssl rand -base64 32`", "ADMIN_PASSWORD", &old] {
            assert!(mistake(copied).is_some(), "{copied} was taken");
        }
        for printed in PRINTED {
            assert!(mistake(printed).is_some(), "{printed} was taken");
        }
        for good in ["correct horse battery staple", "PASSWORD", "6TgR5uY0o6m5pZ3cQ0J1n2w4x7y8z9A1b2C3d4E5f6g="] {
            assert_eq!(mistake(good), None, "{good} was refused");
        }
        assert!(mistake_in_url("postgres://auth:PASSWORD@HOST/auth").is_some());
        assert!(mistake_in_url("redis+sentinel://one?master=a&sentinel_password=PASSWORD").is_some());
        assert_eq!(mistake_in_url("postgres://auth:secret@localhost/auth"), None);
    }
}
