//! What the pages of this service say, in every language.

use shared::pages::{LayoutTexts, texts};
use shared::problem::Problem;

use crate::password::InvalidPassword;

texts! {
    /// What the pages of this service say.
    pub(super) AuthTexts {
        sign_in { en: "Sign in", zh: "登录" }
        sign_in_lead { en: "One login for the shop, your orders and your account.", zh: "一次登录，即可使用商店、订单和账户。" }
        sign_in_for(client) { en: "to continue to {client}", zh: "登录后继续前往 {client}" }
        confirm_title { en: "Confirm that it is you", zh: "请确认是您本人" }
        confirm_lead { en: "Enter your password once more to go on.", zh: "请再次输入密码以继续。" }
        email { en: "Email address", zh: "电子邮箱" }
        password { en: "Password", zh: "密码" }
        new_here { en: "New here?", zh: "还没有账户？" }
        create_account { en: "Create an account", zh: "创建账户" }
        create_account_lead { en: "It takes one minute, and works for every service.", zh: "只需一分钟，所有服务通用。" }
        have_account { en: "Have an account already?", zh: "已有账户？" }
        display_name { en: "Your name", zh: "您的称呼" }
        display_name_hint { en: "As we should call you. Optional.", zh: "我们如何称呼您，选填。" }
        password_hint { en: "At least 8 characters. A few random words make a good one.", zh: "至少 8 个字符，用几个随机的词组合最好。" }

        invalid_email { en: "Enter an email address such as ada@example.com.", zh: "请输入有效的电子邮箱，例如 ada@example.com。" }
        email_taken {
            en: "There is an account with this address already. Sign in instead, or use another address.",
            zh: "该邮箱已注册。请直接登录，或使用其他邮箱。"
        }
        look_alike_email {
            en: "Use letters of one script before the @ and in each part after it: this address could be taken for another.",
            zh: "“@” 之前以及之后的每一部分请只使用同一种文字的字母：该地址容易与其他地址混淆。"
        }
        password_missing { en: "Enter your password.", zh: "请输入密码。" }
        password_too_short { en: "This is too short: use at least 8 characters.", zh: "密码过短，请至少使用 8 个字符。" }
        password_too_long { en: "This is too long: use at most 1,024 bytes.", zh: "密码过长，最多 1,024 字节。" }
        password_too_common {
            en: "This is one of the most common passwords, which are tried first. Choose another.",
            zh: "这是最常见的密码之一，很容易被猜中。请换一个。"
        }
        invalid_display_name {
            en: "Use 1 to 64 characters, without control characters.",
            zh: "请使用 1 至 64 个字符，不得包含控制字符。"
        }
        wrong_credentials {
            en: "The email address or the password is wrong. Check both, and try again.",
            zh: "邮箱或密码错误。请检查后重试。"
        }
        session_limit {
            en: "This account is signed in on too many devices. Sign out on one of them, and try again.",
            zh: "该账户登录的设备过多。请先在其中一台设备上退出，然后重试。"
        }
        busy { en: "Too many people are signing in at this moment. Try again in a few seconds.", zh: "当前登录人数过多，请几秒后重试。" }
        account_changed { en: "Your account was changed in the meantime. Try again.", zh: "您的账户刚刚发生了变更，请重试。" }

        consent_title(client) { en: "Allow {client} to use your account?", zh: "允许 {client} 使用您的账户吗？" }
        consent_asks(client) { en: "{client} asks to:", zh: "{client} 请求以下权限：" }
        consent_leads_to { en: "You will be sent to", zh: "您将被带往" }
        consent_withdraw {
            en: "You can take this back at any time, under Account, Applications.",
            zh: "您可以随时在“账户 › 应用”中撤销。"
        }
        client_changed(client) {
            en: "{client} has changed what it says or asks for. This is how it is now: look again, and decide anew.",
            zh: "{client} 刚刚更改了自己的信息或所请求的权限。以下是最新内容，请重新查看并决定。"
        }
        signed_in_as { en: "Signed in as", zh: "当前账户" }
        allow { en: "Allow", zh: "允许" }
        refuse { en: "Do not allow", zh: "拒绝" }
        privacy_policy { en: "Privacy policy", zh: "隐私政策" }
        terms { en: "Terms of service", zh: "服务条款" }

        scope_openid { en: "know you again when you come back", zh: "在您再次访问时识别您" }
        scope_profile { en: "see your name", zh: "查看您的姓名" }
        scope_email { en: "see your email address", zh: "查看您的电子邮箱" }
        scope_address { en: "see your postal address", zh: "查看您的邮寄地址" }
        scope_phone { en: "see your phone number", zh: "查看您的电话号码" }
        scope_offline { en: "keep its access while you are signed in, also when you do not use it", zh: "在您保持登录期间持续访问，即使您没有使用它" }
        scope_account { en: "see and change your account", zh: "查看和修改您的账户" }
        scope_cart { en: "see and change your basket", zh: "查看和修改您的购物车" }
        scope_orders { en: "see your orders, order what is in your basket, pay and cancel for you", zh: "查看您的订单，并代您用购物车下单、付款和取消订单" }
        scope_admin { en: "administer this shop, where you may", zh: "在您的权限范围内管理本店" }
        scope_other(word) { en: "use “{word}”", zh: "使用“{word}”" }

        select_title { en: "Choose an account", zh: "选择账户" }
        select_lead(client) { en: "to continue to {client}", zh: "继续前往 {client}" }
        another_account { en: "Use another account", zh: "使用其他账户" }

        switch_title { en: "This is for another account", zh: "需要使用另一个账户" }
        switch_expects(client) { en: "{client} expects the account", zh: "{client} 需要使用账户" }
        switch_expects_another(client) {
            en: "{client} expects another account than the one that is signed in here.",
            zh: "{client} 需要的账户与当前登录的账户不同。"
        }
        switch_means {
            en: "To use that account, sign in with it: the account that is signed in now is then signed out in this browser.",
            zh: "如需使用该账户，请用它登录：当前账户随后将在此浏览器中退出登录。"
        }
        switch_go_on { en: "Switch account", zh: "切换账户" }
        switch_stay { en: "Keep this one", zh: "保留当前账户" }
        switch_not_now { en: "Keep the account that is signed in", zh: "保留当前登录的账户" }
        switch_told(client) {
            en: "If you keep this one, {client} is told that you did not sign in.",
            zh: "如果保留当前账户，{client} 将得知您没有登录。"
        }
        expected_account(client, email) { en: "{client} expects the account {email}.", zh: "{client} 需要使用账户 {email}。" }
        signs_out(email) {
            en: "{email} is signed in here now, and is signed out when another account signs in.",
            zh: "当前登录的是 {email}；使用其他账户登录后，它将退出登录。"
        }

        device_title { en: "Let a device in", zh: "授权设备登录" }
        device_lead { en: "Enter the code that your device shows.", zh: "请输入设备上显示的代码。" }
        device_code { en: "Code", zh: "代码" }
        device_code_hint { en: "8 letters, such as BCDF-GHJK. It is good for ten minutes.", zh: "8 个字母，例如 BCDF-GHJK，十分钟内有效。" }
        go_on { en: "Continue", zh: "继续" }
        unknown_device_code {
            en: "No device waits with this code. Look at it again, or let your device show a new one.",
            zh: "没有设备正在等待此代码。请核对后重试，或在设备上重新获取代码。"
        }
        device_decision(client) { en: "Let {client} in?", zh: "允许 {client} 登录吗？" }
        device_warning {
            en: "Allow this only if you are signing in on a device of your own at this moment. Nobody else, from this shop or elsewhere, needs a code from you.",
            zh: "仅当您此刻正在自己的设备上登录时才可允许。任何其他人（包括本店员工）都不会向您索要代码。"
        }
        device_shows { en: "Your device shows this code:", zh: "您的设备上显示的代码：" }
        device_allowed { en: "Your device is signed in. You can go back to it.", zh: "您的设备已登录，请返回设备继续。" }
        device_refused { en: "The device was not let in.", zh: "已拒绝该设备。" }

        leave_title { en: "Leave for another site?", zh: "要前往其他网站吗？" }
        leave_lead(client) {
            en: "A link of {client} has led you here, and nothing was done. From here it leads on to:",
            zh: "{client} 的链接将您带到了这里，未执行任何操作。接下来它将带您前往："
        }
        leave_warning {
            en: "This shop has not checked this application. Go on only if you know it and expected to be sent there.",
            zh: "本店尚未审核此应用。仅当您了解该应用并打算前往时才继续。"
        }
        leave_go_on { en: "Go on", zh: "继续前往" }
        leave_stay { en: "Stay here", zh: "留在本站" }

        over_late(client) {
            en: "It was left open for too long, so nothing was done. Go back to {client}, and sign in from there.",
            zh: "登录页面打开的时间过长，因此未执行任何操作。请返回 {client}，重新登录。"
        }
        over_answered(client) {
            en: "You have finished it already, perhaps by a second click or in another tab. Go back to {client}: if it does not know you yet, sign in from there.",
            zh: "您已经完成了本次登录，可能是重复点击，或在另一个标签页中完成。请返回 {client}；如果仍未登录，请从那里重新登录。"
        }
        over_elsewhere(client) {
            en: "It was begun in another browser, or this one has forgotten it. Go back to {client}, and sign in from there.",
            zh: "本次登录是在另一个浏览器中开始的，或者此浏览器已不再记得它。请返回 {client}，重新登录。"
        }
        over_unknown(client) {
            en: "It took too long, or was finished already. Go back to {client}, and sign in from there.",
            zh: "登录超时，或已经完成。请返回 {client}，重新登录。"
        }
        back_to(client) { en: "Back to {client}", zh: "返回 {client}" }

        form_post_title { en: "You are on your way", zh: "正在前往应用" }
        form_post_lead {
            en: "Your browser takes the answer to the application. If nothing happens, press the button.",
            zh: "浏览器正在把结果带回应用。如果没有反应，请点击按钮。"
        }

        signed_out_title { en: "You are signed out", zh: "您已退出登录" }
        signed_out_lead { en: "Your session has ended in every service of the shop.", zh: "您在本店所有服务中的会话均已结束。" }
        sign_in_again { en: "Sign in again", zh: "重新登录" }

        account { en: "Your account", zh: "我的账户" }
        profile { en: "Profile", zh: "个人资料" }
        sessions { en: "Sessions", zh: "登录设备" }
        applications { en: "Applications", zh: "应用" }
        email_fixed { en: "You sign in with your email address. It cannot be changed here.", zh: "电子邮箱是您的登录名，无法在此更改。" }
        member_since { en: "Member since", zh: "注册时间" }
        roles { en: "Roles", zh: "角色" }
        role_user { en: "Customer", zh: "顾客" }
        role_admin { en: "Administrator", zh: "管理员" }
        save { en: "Save", zh: "保存" }
        saved { en: "Saved.", zh: "已保存。" }
        change_password { en: "Change the password", zh: "修改密码" }
        change_password_lead {
            en: "All your other sessions end with it: whoever knew the old password is out.",
            zh: "修改后，其他设备上的登录都会失效，知道旧密码的人将无法继续使用。"
        }
        current_password { en: "Current password", zh: "当前密码" }
        new_password { en: "New password", zh: "新密码" }
        wrong_password { en: "This is not your current password.", zh: "当前密码不正确。" }
        password_changed { en: "Your password is changed, and your other sessions have ended.", zh: "密码已修改，其他设备上的登录已失效。" }
        sessions_lead { en: "Where you are signed in. Sign out wherever you do not know the device.", zh: "您登录的所有设备。如有不认识的设备，请将其退出。" }
        this_browser { en: "This browser", zh: "当前浏览器" }
        from_address { en: "From", zh: "来自" }
        last_seen { en: "Last seen", zh: "最近活动" }
        since { en: "Since", zh: "始于" }
        sign_out_there { en: "Sign out there", zh: "退出该设备" }
        sign_out_elsewhere { en: "Sign out everywhere else", zh: "退出其他所有设备" }
        session_ended { en: "Done: it is signed out.", zh: "已退出登录。" }
        applications_lead {
            en: "What you have allowed, and which of the shop’s own services you use.",
            zh: "您授权的应用，以及您使用的本店服务。"
        }
        no_applications { en: "No application has access to your account.", zh: "没有应用可以访问您的账户。" }
        part_of_the_shop { en: "Part of this shop", zh: "本店服务" }
        may { en: "May", zh: "权限" }
        withdraw { en: "Take access back", zh: "撤销授权" }
        withdrawn { en: "Done: the application has no access any more.", zh: "已撤销，该应用无法再访问您的账户。" }
    }
}

impl AuthTexts {
    /// The pages of one's own account, in order: where each is, and what it is called.
    pub(super) fn tabs(self) -> [(&'static str, &'static str); 4] {
        [
            ("/account", self.profile()),
            ("/account/password", self.password()),
            ("/account/sessions", self.sessions()),
            ("/account/applications", self.applications()),
        ]
    }

    /// A role's name; one that an administrator made up is its own.
    pub(super) fn role(self, word: impl AsRef<str>) -> String {
        match word.as_ref() {
            "user" => self.role_user().to_owned(),
            "admin" => self.role_admin().to_owned(),
            other => other.to_owned(),
        }
    }

    /// What a word of scope lets a client do, after "it asks to".
    pub(super) fn scope(self, word: &str) -> String {
        let text = match word {
            "openid" => self.scope_openid(),
            "profile" => self.scope_profile(),
            "email" => self.scope_email(),
            "address" => self.scope_address(),
            "phone" => self.scope_phone(),
            "offline_access" => self.scope_offline(),
            "account" => self.scope_account(),
            "cart" => self.scope_cart(),
            "orders" => self.scope_orders(),
            "admin" => self.scope_admin(),
            other => return self.scope_other(other),
        };
        text.to_owned()
    }

    pub(super) fn invalid_password(self, why: InvalidPassword) -> &'static str {
        match why {
            InvalidPassword::TooShort => self.password_too_short(),
            InvalidPassword::TooLong => self.password_too_long(),
            InvalidPassword::TooCommon => self.password_too_common(),
        }
    }

    /// A refusal that the page with the form can say; `None` for one that needs a page of its own.
    pub(super) fn refusal(self, problem: &Problem) -> Option<String> {
        let layout = LayoutTexts(self.0);
        match problem.code() {
            "invalid_credentials" => Some(self.wrong_credentials().to_owned()),
            "session_limit_reached" => Some(self.session_limit().to_owned()),
            "account_changed" => Some(self.account_changed().to_owned()),
            "too_busy" => Some(self.busy().to_owned()),
            "too_many_attempts" => {
                Some(layout.too_often_next(layout.duration(problem.retry_after_seconds().unwrap_or(1))))
            }
            _ => None,
        }
    }
}
