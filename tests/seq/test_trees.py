"""Trees as arrays: what follows from the parents alone, by definitions that recurse."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minae.seq import Forest, Tree, bracketed, read_brackets, select

DEEP = 100_000


@st.composite
def trees(draw, largest=12):
    """Any tree, its nodes numbered in any order."""
    count = draw(st.integers(1, largest))
    below = [draw(st.integers(0, i - 1)) for i in range(1, count)]
    number = draw(st.permutations(range(count)))
    parent = np.full(count, -1)
    for i, j in enumerate(below, 1):
        parent[number[i]] = number[j]
    words = draw(st.lists(st.sampled_from([None, "a", "b"]), min_size=count, max_size=count))
    return Tree(parent, [f"n{i}" for i in range(count)], words)


def walk(tree, node, before=True):
    below = [n for child in tree.children(node) for n in walk(tree, child, before)]
    return [node, *below] if before else [*below, node]


def height(tree, node):
    return max((height(tree, child) + 1 for child in tree.children(node)), default=0)


@given(trees())
def test_what_follows_from_the_parents_is_what_recursion_says(tree):
    (root,) = tree.roots
    for node in range(len(tree)):
        below = [i for i in range(len(tree)) if tree.parent[i] == node]
        assert tree.children(node).tolist() == below and tree.degree[node] == len(below)
        assert tree.left[node] == (below or [-1])[0] and tree.right[node] == (below or [-1])[-1]
        assert tree.level[node] == height(tree, node)
        assert tree.depth[node] == sum(node in walk(tree, i) for i in range(len(tree))) - 1
        leaves = [i for i in walk(tree, root) if tree.degree[i] == 0]
        assert tree.leaves.tolist() == leaves
        start, end = tree.spans[node]
        assert leaves[start:end] == [i for i in walk(tree, node) if i in leaves]
    assert tree.preorder.tolist() == walk(tree, root)
    assert tree.postorder.tolist() == walk(tree, root, before=False)


@given(st.lists(trees(), max_size=4))
def test_a_forest_is_its_trees_side_by_side(members):
    forest = Forest(members)
    plain = Tree(forest.parent, forest.labels, forest.words)
    assert forest == plain and forest.starts[-1] == len(forest) == sum(map(len, members))
    for name in ("preorder", "postorder", "level", "depth", "spans", "leaves", "left", "right"):
        np.testing.assert_array_equal(getattr(forest, name), getattr(plain, name))
    for number, (start, tree) in enumerate(zip(forest.starts, members)):
        part = slice(start, start + len(tree))
        assert forest.labels[part] == tree.labels and forest.words[part] == tree.words
        assert (forest.level[part] == tree.level).all() and (forest.tree[part] == number).all()


@given(st.lists(trees(), max_size=4))
def test_levels_list_every_node_and_every_edge_once(members):
    forest = Forest(members)
    order, rank, starts, child, parent, heads, edges = levels = forest.levels
    assert order[rank].tolist() == list(range(len(forest)))
    for level, (a, b) in enumerate(itertools.pairwise(starts)):
        assert (forest.level[order[a:b]] == level).all()
        assert all(a <= place < b for place in parent[edges[level] : edges[level + 1]])
    assert (np.diff(parent) >= 0).all()
    assert parent[heads].tolist() == list(range(starts[1], len(forest)))
    for node in np.flatnonzero(forest.degree):
        assert order[child[parent == rank[node]]].tolist() == forest.children(node).tolist()
    slots = levels.slots(12)
    for row, node in zip(slots, order[starts[1] :], strict=True):
        below = rank[forest.children(node)].tolist()
        assert row.tolist() == below + [len(forest)] * (12 - len(below))


def test_more_children_than_slots_are_refused_by_name():
    with pytest.raises(ValueError, match="node 1 has 3 children, more than 2: binarize it"):
        Tree([-1, 0, 1, 1, 1]).levels.slots(2)


@given(trees(), st.data())
def test_what_hung_below_a_node_that_goes_hangs_below_the_next_above(tree, data):
    keep = data.draw(st.lists(st.booleans(), min_size=len(tree), max_size=len(tree)))

    def kept(node):
        below = [part for child in tree.children(node) for part in kept(child)]
        return [(tree.labels[node], tree.words[node], below)] if keep[node] else below

    def nested(tree, node):
        below = [nested(tree, child) for child in tree.children(node)]
        return tree.labels[node], tree.words[node], below

    result = select(tree, keep)
    assert [nested(result, root) for root in result.roots] == kept(tree.roots[0])
    assert result.preorder.tolist() == list(range(len(result)))
    assert (Tree(result.parent).preorder == result.preorder).all()


def test_a_mask_has_an_entry_for_each_node():
    for keep in ([True], [True] * 3):
        with pytest.raises(ValueError, match=rf"a mask of {len(keep)} does not fit Tree\(2 nodes"):
            select(Tree([-1, 0]), keep)


def test_what_is_no_tree_is_refused():
    with pytest.raises(ValueError, match="the parent of node 1 is 2, of 2 nodes"):
        Tree([-1, 2])
    with pytest.raises(ValueError, match="node 1 hangs below itself"):
        Tree([-1, 2, 1])
    with pytest.raises(ValueError, match="node 0 hangs below itself"):
        Tree([0])
    with pytest.raises(ValueError, match=r"for each node, got int64\[2\], 1 and 2"):
        Tree([-1, 0], ["a"])


def test_one_tree_in_place_of_several_is_refused():
    (tree,) = read_brackets(["(S (N a) (V b))"])
    for one in (tree, Forest([tree])):
        with pytest.raises(TypeError, match=r"put the one into \[\.\.\.\]"):
            Forest(one)


def test_trees_compare_and_print():
    tree = Tree([-1, 0], ["S", "V"], [None, "go"])
    assert tree == Tree([-1, 0], ["S", "V"], [None, "go"])
    assert tree != Tree([-1, 0], ["S", "V"], [None, "went"]) and tree != Tree([-1, -1], ["S", "V"])
    assert tree != "S" and repr(tree) == "Tree(2 nodes, 1 leaves)"
    assert not Tree([]) and len(Tree([]).levels.order) == len(Tree([]).spans) == 0


@pytest.mark.parametrize("parent", [np.arange(DEEP) - 1, np.append(np.arange(1, DEEP), -1)])
def test_a_deep_tree_survives(parent):
    tree = Tree(parent)
    top = int(tree.roots[0])
    assert tree.level[top] == tree.depth[tree.leaves[0]] == DEEP - 1
    assert len(tree.levels.starts) == DEEP + 1
    alone = select(tree, np.arange(DEEP) == top)
    assert len(alone) == 1
    (again,) = read_brackets([bracketed(Tree(parent, ["X"] * DEEP))])
    assert (again.parent == np.arange(DEEP) - 1).all()
