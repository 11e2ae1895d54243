//! What the pages of orders say.

use shared::texts;

use crate::rules::order_status::OrderStatus;

texts! {
    pub(super) OrderTexts {
        orders { en: "Your orders", zh: "我的订单" }
        no_orders { en: "No orders yet", zh: "还没有订单" }
        no_orders_next { en: "What you order appears here, the newest first.", zh: "您的订单会显示在这里，最新的排在最前。" }
        to_the_shop { en: "To the shop", zh: "前往商店" }
        order { en: "Order", zh: "订单" }
        order_of(moment) { en: "Order of {moment}", zh: "{moment}的订单" }
        number { en: "Number", zh: "订单号" }
        status { en: "Status", zh: "状态" }
        placed_at { en: "Placed", zh: "下单时间" }
        paid_at { en: "Paid", zh: "付款时间" }
        cancelled_at { en: "Cancelled", zh: "取消时间" }
        note { en: "Note", zh: "备注" }
        note_hint { en: "For the shop, at most 500 characters. It may stay empty.", zh: "给商店的留言，最多500字，可不填。" }
        ship_to { en: "Sent to", zh: "收货地址" }
        lines { en: "Items", zh: "商品" }
        total { en: "Total", zh: "合计" }
        times(quantity, each) { en: "{quantity} × {each}", zh: "{quantity} × {each}" }
        earlier { en: "Earlier orders", zh: "更早的订单" }
        newest { en: "Back to the newest", zh: "返回最新订单" }
        pages { en: "Pages", zh: "分页" }
        back_to_orders { en: "All orders", zh: "全部订单" }
        back_to_order { en: "Back to the order", zh: "返回订单" }

        payment_due_at { en: "To be paid by", zh: "付款截止时间" }
        due_hint(moment) { en: "Pay by {moment}. After that the order is cancelled, and its items are free for others.", zh: "请在{moment}之前付款。逾期订单将自动取消，商品不再保留。" }
        was_overdue { en: "The order was not paid in time, and is cancelled. Nothing was charged.", zh: "订单未在规定时间内付款，已取消，未扣款。" }
        pay { en: "Pay", zh: "付款" }
        cancel { en: "Cancel the order", zh: "取消订单" }
        cancel_hint_paid { en: "The money is given back.", zh: "款项将原路退回。" }
        cannot_cancel { en: "The order cannot be cancelled any more.", zh: "该订单已无法取消。" }

        checkout { en: "Check out", zh: "结算" }
        checkout_lead { en: "Look once more, then place the order. You pay on the next page.", zh: "请再次确认后提交订单，下一步付款。" }
        place { en: "Place the order", zh: "提交订单" }
        change_basket { en: "Change the basket", zh: "修改购物车" }
        basket_empty { en: "There is nothing to order", zh: "没有可结算的商品" }
        basket_empty_next { en: "Your basket is empty. An order that you have just placed is among your orders.", zh: "购物车是空的。刚刚提交的订单可在“我的订单”中查看。" }
        changed { en: "Your basket has changed since. Look once more, then place the order.", zh: "购物车内容已变化，请再次确认后提交订单。" }
        problem_stock { en: "Something in your basket is not there in that number any more. Change the basket.", zh: "购物车中有商品库存不足，请修改购物车。" }
        problem_total { en: "That is more than one order can add up. Change the basket.", zh: "金额超出单个订单的上限，请修改购物车。" }
        problem_unpaid { en: "Too many of your orders are not paid yet. Pay or cancel one of them, then place this one.", zh: "您有过多未付款的订单。请先付款或取消其中一个，再提交此订单。" }
        problem_abandoned { en: "Too many of your orders of the last day came to nothing. Try again later; your basket stays.", zh: "您在过去一天内有过多未完成的订单。请稍后再试，购物车会保留。" }
        problem_cart { en: "The basket could not be ordered. Look at it once more.", zh: "购物车无法结算，请重新查看。" }
        problem_note { en: "The note is too long, or has characters that cannot be kept.", zh: "备注过长，或包含无法保存的字符。" }

        payment { en: "Pay the order", zh: "支付订单" }
        payment_lead { en: "To protect you, we ask you to sign in again when your last sign-in was a while ago.", zh: "为保障安全，若距上次登录已有一段时间，我们会请您重新登录。" }
        amount { en: "To pay", zh: "应付金额" }
        method { en: "How do you want to pay?", zh: "请选择付款方式" }
        test_card { en: "Test card", zh: "测试卡" }
        test_card_hint { en: "Every payment with it is taken.", zh: "使用该卡的付款总会成功。" }
        test_card_declined { en: "Test card that is declined", zh: "会被拒绝的测试卡" }
        test_card_declined_hint { en: "To see what a shop does then.", zh: "用于查看付款被拒时的处理。" }
        pay_now(amount) { en: "Pay {amount}", zh: "支付{amount}" }
        problem_declined { en: "The payment was declined. Nothing was charged; try another way to pay.", zh: "付款被拒绝，未扣款。请换一种付款方式。" }
        problem_status { en: "The order cannot be paid: something else was done with it meanwhile.", zh: "该订单无法付款：其状态已发生变化。" }
        problem_overdue { en: "The time to pay this order is over. Nothing was charged, and the order is cancelled.", zh: "该订单已超过付款期限，未扣款，订单将被取消。" }
        problem_method { en: "Choose how to pay.", zh: "请选择付款方式。" }
        no_charge { en: "No real money is moved in this shop.", zh: "本商店不会产生真实扣款。" }

        placing { en: "Being placed", zh: "提交中" }
        placed { en: "Placed, to be paid", zh: "待付款" }
        paying { en: "Being paid", zh: "付款处理中" }
        paid { en: "Paid", zh: "已付款" }
        cancelling { en: "Being cancelled", zh: "取消中" }
        cancelled { en: "Cancelled", zh: "已取消" }
        failed { en: "Not placed", zh: "未成功" }
    }
}

impl OrderTexts {
    pub(super) fn status_name(self, status: OrderStatus) -> &'static str {
        match status {
            OrderStatus::Placing | OrderStatus::Reserved => self.placing(),
            OrderStatus::Placed => self.placed(),
            OrderStatus::Paying => self.paying(),
            OrderStatus::Paid => self.paid(),
            OrderStatus::Cancelling => self.cancelling(),
            OrderStatus::Cancelled => self.cancelled(),
            OrderStatus::Failed => self.failed(),
        }
    }
}
