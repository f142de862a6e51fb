"""The report room: result files shown as HTML, Markdown and a table, with no figure computed afresh."""
