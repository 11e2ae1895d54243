//! Plots as SVG, readable on light and on dark. Rules only: figures in, text out.

use std::fmt::Write as _;

/// Told apart by colour-blind readers too (after Okabe and Ito), on both grounds.
const COLOURS: [&str; 9] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c", "#7b61d9", "#a65628"];
const WIDTH: f64 = 720.0;
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.rule{stroke:#8b949e;stroke-opacity:.4}\
.ground{fill:#fff}.title{font-weight:600}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.ground{fill:#0d1117}}";

/// A bar for each name, in parts that add up.
pub(super) struct Bars<'a> {
    pub(super) title: &'a str,
    /// What each part is.
    pub(super) parts: &'a [&'a str],
    pub(super) bars: Vec<Bar>,
}

pub(super) struct Bar {
    pub(super) name: String,
    pub(super) parts: Vec<f64>,
    /// What stands at its end.
    pub(super) says: String,
}

/// A line for each name, from left to right.
pub(super) struct Lines<'a> {
    pub(super) title: &'a str,
    pub(super) across: &'a str,
    pub(super) lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Bars<'_> {
    pub(super) fn svg(&self) -> String {
        let (left, right, top, step) = (140.0, 160.0, 62.0, 27.0);
        let longest = self.bars.iter().map(|bar| bar.parts.iter().sum()).fold(f64::MIN_POSITIVE, f64::max);
        let scale = (WIDTH - left - right) / longest;
        let mut svg = String::new();
        let mut x = left;
        for (number, part) in self.parts.iter().enumerate() {
            svg += &rectangle(x, 36.0, 12.0, 12.0, COLOURS[number]);
            svg += &text(x + 18.0, 47.0, "start", part);
            x += 18.0 + 8.0 * length(part) + 24.0;
        }
        for (number, bar) in self.bars.iter().enumerate() {
            let y = top + step * place(number);
            svg += &text(left - 10.0, y + 14.0, "end", &bar.name);
            let mut x = left;
            for (number, part) in bar.parts.iter().enumerate() {
                svg += &rectangle(x, y, part * scale, 18.0, COLOURS[number]);
                x += part * scale;
            }
            svg += &text(x + 8.0, y + 14.0, "start", &bar.says);
        }
        picture(self.title, top + step * place(self.bars.len()) + 12.0, &svg)
    }
}

impl Lines<'_> {
    pub(super) fn svg(&self) -> String {
        let (left, right, top, bottom, height) = (64.0, 170.0, 44.0, 48.0, 380.0);
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let across = points().map(|point| point.0).fold(f64::MIN_POSITIVE, f64::max);
        let step = nice(points().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max) / 4.0);
        let x = |value: f64| left + (WIDTH - left - right) * (value - 1.0) / (across - 1.0).max(1.0);
        let y = |value: f64| height - bottom - (height - bottom - top) * value / (step * 5.0);
        let mut svg = String::new();
        for rule in 0..=5 {
            let at = step * f64::from(rule);
            let (begin, end, y) = (left, WIDTH - right, y(at));
            let _ = writeln!(svg, r#"<line class="rule" x1="{begin}" y1="{y:.1}" x2="{end}" y2="{y:.1}"/>"#);
            svg += &text(left - 8.0, y + 4.0, "end", &format!("{at}"));
        }
        let mut marks: Vec<f64> = points().map(|point| point.0).collect();
        marks.sort_by(f64::total_cmp);
        marks.dedup();
        for mark in marks {
            svg += &text(x(mark), height - bottom + 20.0, "middle", &format!("{mark}"));
        }
        svg += &text(left, height - 8.0, "start", self.across);
        for (number, (name, points)) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let path: Vec<String> = points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
            let path = path.join(" ");
            let _ = writeln!(svg, r#"<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>"#);
            for point in points {
                let (x, y) = (x(point.0), y(point.1));
                let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#);
            }
            let key = top + 24.0 * place(number);
            svg += &rectangle(WIDTH - right + 20.0, key, 12.0, 12.0, colour);
            svg += &text(WIDTH - right + 38.0, key + 11.0, "start", name);
        }
        picture(self.title, height, &svg)
    }
}

fn picture(title: &str, height: f64, content: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>{STYLE}</style>\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"16\" y=\"24\">{title}</text>\n{content}</svg>\n",
        title = escaped(title),
    )
}

fn rectangle(x: f64, y: f64, width: f64, height: f64, colour: &str) -> String {
    format!("<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>\n")
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escaped(text))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// The next 1, 2, 2.5 or 5 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= value).unwrap_or(value)
}

#[expect(clippy::cast_precision_loss, reason = "some bars")]
fn place(number: usize) -> f64 {
    number as f64
}

fn length(text: &str) -> f64 {
    place(text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_figures() {
        let bar =
            |name: &str, parts: &[f64]| Bar { name: name.to_owned(), parts: parts.to_vec(), says: "<1 ms".to_owned() };
        let svg =
            Bars { title: "a & b", parts: &["x", "y"], bars: vec![bar("one", &[25.0, 17.0]), bar("two", &[21.0])] }
                .svg();
        assert!(svg.contains(r##"<rect x="140.0" y="62.0" width="250.0" height="18" fill="#0072b2"/>"##), "{svg}");
        assert!(svg.contains(r##"<rect x="390.0" y="62.0" width="170.0" height="18" fill="#d55e00"/>"##), "{svg}");
        assert!(svg.contains(r#"width="210.0""#), "{svg}");
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;1 ms"), "{svg}");
    }

    #[test]
    fn lines_stay_within_their_rules() {
        let lines = vec![("one".to_owned(), vec![(1.0, 0.0), (5.0, 7_900.0)])];
        let svg = Lines { title: "t", across: "nodes", lines }.svg();
        assert!(svg.contains(">10000</text>") && svg.contains(">2000</text>"), "{svg}");
        assert!(svg.contains(r#"points="64.0,332.0 550.0,104.5""#), "{svg}");
        assert_eq!([nice(1.0), nice(1_975.0), nice(0.03), nice(6.0)], [1.0, 2_000.0, 0.05, 10.0]);
    }
}
