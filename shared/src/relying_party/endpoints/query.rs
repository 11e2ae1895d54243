//! Parameters of OpenID requests and answers: none is given twice (RFC 6749, section 3.1).

use std::collections::HashMap;

use url::form_urlencoded;

use crate::problem::Problem;

/// The parameters of a query string or of a form.
pub(super) struct Parameters(HashMap<String, String>);

impl Parameters {
    /// # Errors
    /// 400 where one is given twice.
    pub(super) fn read(encoded: &[u8]) -> Result<Self, Problem> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(encoded) {
            if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Problem::bad_request("invalid_request", "a parameter is given twice"));
            }
        }
        Ok(Self(parameters))
    }

    /// One that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
