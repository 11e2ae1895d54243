//! The languages of the pages, and which one a request asks for. Rules only.

/// A language that every text exists in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    En,
    Zh,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::En, Self::Zh];

    /// As in a page's `lang` (BCP 47).
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh-Hans",
        }
    }

    /// As in `ui_locales` and in the cookie that remembers a choice.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Zh => "zh",
        }
    }

    /// What the language calls itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Zh => "中文",
        }
    }

    /// `zh`, `zh-CN`, `EN-gb`: the language of a tag, whatever its script and region.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.code().eq_ignore_ascii_case(primary))
    }

    /// The first known one of a list in the order of preference (OpenID Connect Core, section 3.1.2.1, `ui_locales`).
    pub fn from_ui_locales(text: &str) -> Option<Self> {
        text.split_ascii_whitespace().find_map(Self::from_tag)
    }

    /// The known one with the greatest weight (RFC 9110, section 12.5.4); of equal ones the first.
    pub fn from_accept_language(text: &str) -> Option<Self> {
        let mut best: Option<(Self, f32)> = None;
        for range in text.split(',').take(32) {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.trim().parse().ok());
            let (Some(language), Some(weight)) = (Self::from_tag(tag), weight) else { continue };
            if weight > best.map_or(0.0, |(_, weight)| weight) {
                best = Some((language, weight));
            }
        }
        best.map(|(language, _)| language)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_known_by_its_language_alone() {
        for (tag, language) in [
            ("zh", Some(Language::Zh)),
            ("zh-Hant-TW", Some(Language::Zh)),
            ("EN-gb", Some(Language::En)),
            ("zh_CN", Some(Language::Zh)),
            ("de", None),
            ("", None),
            ("english", None),
        ] {
            assert_eq!(Language::from_tag(tag), language, "{tag}");
        }
        for language in Language::ALL {
            assert_eq!(Language::from_tag(language.tag()), Some(language));
            assert_eq!(Language::from_tag(language.code()), Some(language));
        }
    }

    #[test]
    fn the_language_that_a_browser_prefers_is_spoken_where_it_is_known() {
        for (header, language) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Some(Language::Zh)),
            ("de,fr;q=0.9,en;q=0.5,zh;q=0.7", Some(Language::Zh)),
            ("en-GB,zh;q=1.0", Some(Language::En)),
            ("en;q=0,zh;q=0.1", Some(Language::Zh)),
            ("en;q=0", None),
            ("en;q=x, *;q=0.5", None),
            ("\u{0};;;q=,,,", None),
            ("", None),
        ] {
            assert_eq!(Language::from_accept_language(header), language, "{header}");
        }
        assert_eq!(Language::from_ui_locales("fr-CA zh-Hans en"), Some(Language::Zh));
        assert_eq!(Language::from_ui_locales("fr"), None);
    }
}
