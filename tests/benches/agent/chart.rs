//! A bar for each subject, as SVG.

use std::fmt::Write;

const WIDTH: f64 = 960.0;
const ROW: f64 = 30.0;
const TOP: f64 = 64.0;
/// Where bars begin, and how long the longest is.
const LEFT: f64 = 380.0;
const LONGEST: f64 = 480.0;

pub struct Bar {
    pub name: String,
    pub value: f64,
    /// It is the agent's.
    pub ours: bool,
}

/// Values are shown with two digits behind the point and `unit`.
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let height = TOP + ROW * bars.len() as f64 + 16.0;
    let most = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let title = escaped(title);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui, 'DejaVu Sans', \
         sans-serif\" font-size=\"14\" role=\"img\" aria-label=\"{title}\">\n  \
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"14\" fill=\"#f6f8fb\"/>\n  \
         <text x=\"24\" y=\"38\" font-size=\"16\" font-weight=\"600\" fill=\"#1d2733\">{title}</text>\n"
    );
    for (row, bar) in bars.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        let length = (bar.value / most * LONGEST).max(1.0);
        let colour = if bar.ours { "#326ce5" } else { "#a9b4c2" };
        let (name, value) = (escaped(&bar.name), bar.value);
        writeln!(
            svg,
            "  <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#1d2733\">{name}</text>\n  \
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"18\" rx=\"3\" fill=\"{colour}\"/>\n  \
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#5b6b7f\">{value:.2} {unit}</text>",
            LEFT - 10.0,
            y + 14.0,
            y,
            LEFT + length + 8.0,
            y + 14.0,
        )
        .unwrap();
    }
    svg.push_str("</svg>\n");
    svg
}

/// As text and attribute of XML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
