//! What the layout and the error pages say, in every language; and the form in which texts are written.

/// A table of texts: a method for each, which answers in the language that the table was asked for. A text that lacks a
/// language does not compile; nor does one that leaves out, in one language, a value that it has in the other.
///
/// ```
/// shared::pages::texts! {
///     /// What the page of wishes says.
///     pub WishTexts {
///         title { en: "Wishes", zh: "心愿" }
///         wishes_of(name) { en: "The wishes of {name}", zh: "{name}的心愿" }
///     }
/// }
/// use shared::pages::Language;
/// assert_eq!(WishTexts(Language::Zh).title(), "心愿");
/// assert_eq!(WishTexts(Language::En).wishes_of("Ada"), "The wishes of Ada");
/// ```
///
/// ```compile_fail
/// shared::pages::texts! { pub WishTexts { title { en: "Wishes" } } }
/// ```
///
/// ```compile_fail
/// shared::pages::texts! { pub WishTexts { wishes_of(name) { en: "The wishes of {name}", zh: "心愿" } } }
/// ```
#[macro_export]
macro_rules! texts {
    ($(#[$meta:meta])* $vis:vis $name:ident {
        $($key:ident $(($($value:ident),+))? { en: $en:literal, zh: $zh:literal })*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        $vis struct $name(pub $crate::pages::Language);

        impl $name {
            $($crate::texts!(@text $vis $key ($($($value),+)?) $en, $zh);)*
        }
    };
    (@text $vis:vis $key:ident () $en:literal, $zh:literal) => {
        $vis fn $key(self) -> &'static str {
            match self.0 {
                $crate::pages::Language::En => $en,
                $crate::pages::Language::Zh => $zh,
            }
        }
    };
    (@text $vis:vis $key:ident ($($value:ident),+) $en:literal, $zh:literal) => {
        $vis fn $key(self, $($value: impl ::std::fmt::Display),+) -> ::std::string::String {
            match self.0 {
                $crate::pages::Language::En => ::std::format!($en, $($value = $value),+),
                $crate::pages::Language::Zh => ::std::format!($zh, $($value = $value),+),
            }
        }
    };
}

texts! {
    /// What the layout and the error pages say.
    pub LayoutTexts {
        skip { en: "Skip to the content", zh: "跳到正文" }
        main_navigation { en: "Main", zh: "主导航" }
        shop { en: "Shop", zh: "商店" }
        basket { en: "Basket", zh: "购物车" }
        orders { en: "Orders", zh: "订单" }
        account { en: "Account", zh: "账户" }
        sign_in { en: "Sign in", zh: "登录" }
        sign_out { en: "Sign out", zh: "退出登录" }
        language { en: "Language", zh: "语言" }
        footer { en: "One login for every service.", zh: "一次登录，通行所有服务。" }

        wrong_request { en: "We could not read that request", zh: "无法读取该请求" }
        wrong_request_next {
            en: "The link or the form was incomplete or changed on its way. Go back, reload the page, and try once more.",
            zh: "链接或表单不完整，或在传输途中被更改。请返回上一页，刷新后再试一次。"
        }
        several_logins { en: "Several people are signed in here", zh: "此浏览器中有多个登录" }
        several_logins_next {
            en: "Your browser has sent the logins of several people at once, and one of them may have been planted. So nothing was done. Sign out, which ends all of them, and sign in again.",
            zh: "您的浏览器同时发送了多个人的登录信息，其中可能有被他人植入的。因此未执行任何操作。请退出登录（将结束所有登录），然后重新登录。"
        }
        sign_in_over { en: "This sign-in is over", zh: "本次登录已结束" }
        sign_in_over_next {
            en: "It took too long, was finished already, or was begun in another browser. Go back to where you came from, and sign in from there.",
            zh: "登录超时、已经完成，或是在另一个浏览器中开始的。请回到原来的页面，重新登录。"
        }
        sign_out_over { en: "This sign-out is over", zh: "本次退出操作已失效" }
        sign_out_over_next {
            en: "It was left open for too long, so nothing was done, and whoever was signed in still is. Sign out from here, or go back to the shop.",
            zh: "页面打开的时间过长，因此未执行任何操作，登录状态保持不变。您可以在此退出登录，或返回商店。"
        }
        sign_in_cancelled { en: "The sign-in was cancelled", zh: "登录已取消" }
        sign_in_cancelled_next {
            en: "You stopped it, or did not allow it, so nothing was changed. Sign in again if you want to go on, or go back to the shop.",
            zh: "您中止了登录或未予允许，因此未作任何更改。如需继续，请重新登录，或返回商店。"
        }
        sign_in_failed { en: "The sign-in did not come to its end", zh: "登录未能完成" }
        sign_in_failed_next {
            en: "It took too long, was begun in another browser, or the sign-in service has refused it. Nothing was changed. Sign in again: if you are signed in there already, you come straight back.",
            zh: "登录超时、是在另一个浏览器中开始的，或被登录服务拒绝，因此未作任何更改。请重新登录；如果您在登录服务中仍处于登录状态，将直接返回。"
        }
        sign_in_again { en: "Sign in again", zh: "重新登录" }
        sign_in_first { en: "Please sign in", zh: "请先登录" }
        sign_in_first_next {
            en: "This page is only for people who are signed in. Sign in, and open it again.",
            zh: "此页面仅供已登录用户访问。请登录后重新打开。"
        }
        not_allowed { en: "You are not allowed to do this", zh: "您无权执行此操作" }
        not_allowed_next {
            en: "Your account does not have the right to open this page. If you think it should, ask whoever runs this shop.",
            zh: "您的账户没有打开此页面的权限。如有疑问，请联系商店管理员。"
        }
        form_expired { en: "This form cannot be sent any more", zh: "此表单已失效" }
        form_expired_next {
            en: "We could not make sure that it came from our own page, so nothing was changed. Go back, reload the page, and send it again. If it happens again, allow cookies for this site.",
            zh: "我们无法确认该表单来自本站页面，因此未作任何更改。请返回上一页，刷新后重新提交。如仍出现此提示，请允许本站使用 Cookie。"
        }
        not_found { en: "There is nothing here", zh: "页面不存在" }
        not_found_next {
            en: "The address may be mistyped, or what was here is gone. Look at the address, or start from the shop.",
            zh: "地址可能有误，或者内容已被移除。请检查地址，或从商店首页重新开始。"
        }
        changed_meanwhile { en: "Something changed in the meantime", zh: "内容已发生变化" }
        changed_meanwhile_next {
            en: "What you wanted to do does not fit any more. Go back, reload the page, and look at it again.",
            zh: "您要执行的操作已不再适用。请返回上一页，刷新后重新查看。"
        }
        too_large { en: "That was too much at once", zh: "提交的内容过多" }
        too_large_next { en: "Go back, shorten what you entered, and send it again.", zh: "请返回上一页，缩短输入内容后重新提交。" }
        too_often { en: "Too many attempts", zh: "尝试次数过多" }
        too_often_next(wait) {
            en: "To protect accounts, we take only so many attempts. Try again in {wait}.",
            zh: "为保护账户安全，我们限制了尝试次数。请在{wait}后重试。"
        }
        unavailable { en: "This does not work at the moment", zh: "服务暂时不可用" }
        unavailable_next(wait) {
            en: "A part of the shop does not answer. What you sent may not have been done: try again in {wait}, and look first.",
            zh: "商店的某个部分暂时没有响应，您提交的内容可能尚未处理。请在{wait}后先查看，再重试。"
        }
        set_up_wrongly { en: "This site is set up wrongly", zh: "网站配置有误" }
        set_up_wrongly_next(code) {
            en: "You did nothing wrong, nothing was changed, and it will not go away by itself. Whoever runs this site can put it right: tell them the code {code}, and the number below.",
            zh: "这不是您的操作造成的，未作任何更改，稍后重试也不会恢复。请将代码{code}和下面的编号告知网站管理员，由其修正。"
        }
        failed { en: "Something went wrong on our side", zh: "我们这边出了问题" }
        failed_next {
            en: "The fault has been written down. Try again in a moment; if it stays, tell whoever runs this shop the number below.",
            zh: "问题已被记录。请稍后重试；如果仍未解决，请将下面的编号告知商店管理员。"
        }
        not_done { en: "This could not be done", zh: "操作未能完成" }
        not_done_next { en: "Go back, look at what you entered, and try again.", zh: "请返回上一页，检查输入的内容后重试。" }
        to_the_shop { en: "To the shop", zh: "前往商店" }
        request_number { en: "Number of this request", zh: "请求编号" }
        error_code { en: "Code", zh: "代码" }
        a_moment { en: "a moment", zh: "片刻" }
        minute { en: "a minute", zh: "1分钟" }
        minutes(count) { en: "{count} minutes", zh: "{count}分钟" }
        hour { en: "an hour", zh: "1小时" }
        hours(count) { en: "{count} hours", zh: "{count}小时" }
    }
}

impl LayoutTexts {
    /// About how long to wait, rounded up: it must be over when the time has come.
    pub fn duration(self, seconds: u64) -> String {
        match (seconds, seconds.div_ceil(60), seconds.div_ceil(3600)) {
            (0..=10, ..) => self.a_moment().to_owned(),
            (_, 1, _) => self.minute().to_owned(),
            (_, minutes @ ..=59, _) => self.minutes(minutes),
            (_, _, 1) => self.hour().to_owned(),
            (_, _, hours) => self.hours(hours),
        }
    }
}
