"""`python -m benchmarks.results_page` writes benchmarks/RESULTS.md."""

from benchmarks.results_page.page import PAGE, page

PAGE.write_text(page(PAGE.parent), encoding="utf-8")
print(PAGE)
