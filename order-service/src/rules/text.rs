//! Bounded text that a client sends. Control characters are refused: no database or terminal is fond of them.

use serde::{Deserialize, Serialize};

/// One line of `MIN..=MAX` characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Line<const MIN: usize, const MAX: usize>(String);

/// At most `MAX` characters in any number of lines, without the blanks around them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Paragraph<const MAX: usize>(String);

/// A country: two capital letters (ISO 3166-1 alpha-2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CountryCode(String);

fn bounded(text: &str, min: usize, max: usize) -> Result<(), String> {
    if (min..=max).contains(&text.chars().count()) {
        Ok(())
    } else {
        Err(format!("expected {min} to {max} characters"))
    }
}

impl<const MIN: usize, const MAX: usize> TryFrom<String> for Line<MIN, MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        bounded(&text, MIN, MAX)?;
        if text.chars().any(|c| c.is_ascii_control()) {
            return Err("expected one line without control characters".to_owned());
        }
        Ok(Self(text))
    }
}

impl<const MAX: usize> TryFrom<String> for Paragraph<MAX> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        bounded(&text, 0, MAX)?;
        if text.chars().any(|c| c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r')) {
            return Err("expected text without control characters".to_owned());
        }
        // As on the checkout's page.
        Ok(Self(text.trim().to_owned()))
    }
}

impl TryFrom<String> for CountryCode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_code = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if is_code { Ok(Self(text)) } else { Err("expected two capital letters (ISO 3166-1 alpha-2)") }
    }
}

impl<const MIN: usize, const MAX: usize> From<Line<MIN, MAX>> for String {
    fn from(line: Line<MIN, MAX>) -> Self {
        line.0
    }
}

impl<const MAX: usize> From<Paragraph<MAX>> for String {
    fn from(paragraph: Paragraph<MAX>) -> Self {
        paragraph.0
    }
}

impl From<CountryCode> for String {
    fn from(code: CountryCode) -> Self {
        code.0
    }
}
