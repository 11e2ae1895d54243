//! What the shop's pages say.

use shared::texts;

texts! {
    pub(super) ShopTexts {
        catalogue { en: "Good things for every day", zh: "日常好物" }
        catalogue_lead {
            en: "Sign in once, and the basket, the orders and the account all know you.",
            zh: "只需登录一次，购物车、订单和账户即可全部通行。"
        }
        search { en: "Search the shop", zh: "搜索商品" }
        search_button { en: "Search", zh: "搜索" }
        categories { en: "Categories", zh: "分类" }
        all { en: "Everything", zh: "全部" }
        nothing_found { en: "Nothing fits", zh: "没有找到商品" }
        nothing_found_next { en: "Try fewer words, or look at everything.", zh: "请减少关键词，或浏览全部商品。" }
        show_all { en: "Show everything", zh: "查看全部" }
        next_page { en: "Next page", zh: "下一页" }
        first_page { en: "Back to the first page", zh: "返回第一页" }
        pages { en: "Pages", zh: "分页" }
        in_stock { en: "In stock", zh: "有货" }
        only_left(count) { en: "Only {count} left", zh: "仅剩{count}件" }
        sold_out { en: "Sold out", zh: "已售罄" }
        quantity { en: "Quantity", zh: "数量" }
        quantity_of(name) { en: "Quantity of {name}", zh: "{name}的数量" }
        add { en: "Add to basket", zh: "加入购物车" }
        back_to_shop { en: "Back to the shop", zh: "返回商店" }
        category { en: "Category", zh: "分类" }
        price { en: "Price", zh: "价格" }

        basket { en: "Your basket", zh: "您的购物车" }
        basket_empty { en: "Your basket is empty", zh: "购物车是空的" }
        basket_empty_next { en: "What you add stays here. Sign in, and it stays for as long as you like.", zh: "加入的商品会保留在这里。登录后将一直为您保留。" }
        look_around { en: "Look around", zh: "去逛逛" }
        each(price) { en: "{price} each", zh: "单价{price}" }
        update { en: "Update", zh: "更新" }
        remove { en: "Remove", zh: "移除" }
        update_of(name) { en: "Update the quantity of {name}", zh: "更新{name}的数量" }
        remove_of(name) { en: "Remove {name}", zh: "移除{name}" }
        total { en: "Total", zh: "合计" }
        check_out { en: "Check out", zh: "去结算" }
        check_out_as_guest { en: "Sign in and check out", zh: "登录并结算" }
        guest_note { en: "Your basket comes with you when you sign in.", zh: "登录后，购物车中的商品会自动保留。" }
        keep_shopping { en: "Keep shopping", zh: "继续购物" }
        items { en: "In the basket", zh: "购物车商品" }

        problem_stock { en: "There are not that many left. Choose fewer.", zh: "库存不足，请减少数量。" }
        problem_quantity { en: "Choose a quantity from 1 to 99.", zh: "数量须为1到99。" }
        problem_full { en: "The basket is full: it holds 100 different products.", zh: "购物车已满：最多可放100种商品。" }
        problem_total { en: "That is more than the basket can add up.", zh: "金额超出购物车的上限。" }

        coffee { en: "Coffee", zh: "咖啡" }
        tea { en: "Tea", zh: "茶" }
        kitchen { en: "Kitchen", zh: "厨房" }
        tableware { en: "Tableware", zh: "餐具" }
        home { en: "Home", zh: "家居" }
        office { en: "Office", zh: "办公" }
        electronics { en: "Electronics", zh: "电子" }
        outdoor { en: "Outdoor", zh: "户外" }
        games { en: "Games", zh: "游戏" }
        books { en: "Books", zh: "图书" }
    }
}

impl ShopTexts {
    /// What people call a category; one that is not known here goes by its own name.
    pub(super) fn category_name(self, category: &str) -> &str {
        match category {
            "coffee" => self.coffee(),
            "tea" => self.tea(),
            "kitchen" => self.kitchen(),
            "tableware" => self.tableware(),
            "home" => self.home(),
            "office" => self.office(),
            "electronics" => self.electronics(),
            "outdoor" => self.outdoor(),
            "games" => self.games(),
            "books" => self.books(),
            other => other,
        }
    }

    /// How many there are, in words that help.
    pub(super) fn stock(self, stock: i64) -> String {
        match stock {
            ..=0 => self.sold_out().to_owned(),
            1..=9 => self.only_left(stock),
            _ => self.in_stock().to_owned(),
        }
    }
}
