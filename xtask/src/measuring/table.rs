//! Figures as text.

/// Three digits that mean something.
pub(crate) fn short(figure: f64) -> String {
    let decimals = if figure >= 100.0 {
        0
    } else if figure >= 10.0 {
        1
    } else {
        2
    };
    format!("{figure:.decimals$}")
}

/// A table in Markdown whose columns stand under each other as plain text too.
pub(crate) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default().max(3);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let cells =
        |row: &[String; COLUMNS]| line(row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect());
    let mut rows = rows.iter().map(cells);
    let head = rows.next().unwrap_or_default();
    head + &line(widths.iter().map(|width| "-".repeat(*width)).collect()) + &rows.collect::<String>()
}
