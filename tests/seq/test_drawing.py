"""Trees as SVG."""

import xml.etree.ElementTree as ET

from minae import seq

SVG = "{http://www.w3.org/2000/svg}"


def test_words_stand_in_order_below_their_labels(tmp_path):
    trees = [*seq.read_brackets(["(S (NP (D the) (N <dog>)) (V barks))", "(S (N dogs) (V bark))"])]
    path = tmp_path / "trees.svg"
    seq.draw_trees(path, [("one & only", trees[0]), ("two", trees[1])])
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    first, second = root.findall(f"{SVG}g")
    texts = {t.text: (float(t.get("x")), float(t.get("y"))) for t in first.findall(f"{SVG}text")}
    assert texts.keys() == {"one & only", "S", "NP", "the", "<dog>", "barks"}
    assert texts["the"][0] < texts["<dog>"][0] < texts["barks"][0]
    assert texts["the"][1] == texts["barks"][1] > texts["NP"][1] > texts["S"][1]
    assert texts["the"][0] < texts["NP"][0] < texts["<dog>"][0]
    assert len(first.findall(f"{SVG}path")) == 4
    assert "two" in [t.text for t in second.findall(f"{SVG}text")]


def test_a_deep_tree_and_none_can_be_drawn(tmp_path):
    seq.draw_trees(tmp_path / "deep.svg", [("left", seq.left_branching(3000))], columns=1)
    root = ET.parse(tmp_path / "deep.svg").getroot()
    assert len(root.findall(f"{SVG}g/{SVG}path")) == 2 * 3000 - 2
    seq.draw_trees(tmp_path / "none.svg", [])
    ET.parse(tmp_path / "none.svg")
