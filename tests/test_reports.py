from holdfast.reports import Finding, Report


def test_report_without_findings_is_ok():
    assert Report(checked=3, notes=["2 adds since"]).ok


def test_report_prints_each_finding_and_its_verdict():
    report = Report(2, [Finding("missing", "a"), Finding("changed", "b", "md5:1", "md5:2")])
    assert str(report).splitlines() == [
        "missing  a",
        "changed  b  expected md5:1  found md5:2",
        "checked 2, findings 2: not ok",
    ]
    assert report.counts() == {"changed": 1, "missing": 1}


def test_report_as_json_has_stable_names():
    assert Report(1, [Finding("extra", "x")]).to_dict() == {
        "ok": False,
        "checked": 1,
        "findings": [{"kind": "extra", "uri": "x", "expected": None, "found": None}],
        "notes": [],
    }


def test_reports_merge():
    merged = Report.merged([Report(1, [Finding("extra", "x")]), Report(2, notes=["n"])])
    assert (merged.checked, len(merged.findings), merged.notes) == (3, 1, ["n"])


def test_html_escapes_names():
    assert "<b>" not in Report(1, [Finding("extra", "<b>")])._repr_html_()
