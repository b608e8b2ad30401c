"""How the docstrings become the pages of the reference: an extension of Griffe, which reads them.

It turns literal blocks into fenced code and names of minae into links, takes the comment beside a
NamedTuple's field for its description, shows a kernel as the function whose docstring it wears, and
names the public bases of a class in place of private ones, of which it shows what they define.
"""

import ast
import re
import textwrap

import griffe

LITERAL = r"(?P<alone>^)?::\n\n(?P<code>(?:(?: .*)?(?:\n|\Z))+)"  # and the indented lines below
NAME = r"(?<!`)(?P<ticks>``?)(?P<name>[A-Za-z_][\w.]*)(?P=ticks)(?!`)"
MARKUP = re.compile(f"{LITERAL}|{NAME}", re.MULTILINE)


class Reference(griffe.Extension):
    def on_package(self, *, pkg, loader, **_):
        modules = list(_modules(pkg))
        for module in modules:
            for thing in _below(module):
                _describe(thing)
        loader.resolve_aliases(implicit=True, external=False)  # while all files can be seen
        for parent, name, thing in [found for module in modules for found in _meanings(module)]:
            parent.set_member(name, griffe.Alias(name, thing, parent=parent))


def _modules(module):
    yield module
    for inner in module.modules.values():
        if not inner.is_alias:
            yield from _modules(inner)


def _below(thing):
    """The module or class, and what it defines in its own file."""
    yield thing
    for member in thing.members.values():
        if not member.is_alias and not member.is_module:
            yield from _below(member)


def _describe(thing):
    if thing.is_class:
        _adopt(thing)
        thing.bases = list({str(base): base for base in _public_bases(thing)}.values())
    if thing.docstring:
        thing.docstring.value = markdown(thing.docstring.value, thing)
    elif thing.is_attribute and thing.parent.is_class and _is_record(thing.parent):
        _, _, comment = thing.source.partition("  # ")
        if comment:
            thing.docstring = griffe.Docstring(markdown(comment, thing), parent=thing)


def _public_bases(thing):
    for base in thing.bases:
        if str(base).startswith("_"):
            yield from _public_bases(thing.module[str(base)])
        else:
            yield base


def _adopt(thing):
    """Give a class how it is made and called, where that stands in a private base (which stands
    above it in the file, and has adopted already)."""
    for base in thing.bases:
        if str(base).startswith("_"):
            members = thing.module[str(base)].members
            for name in {"__init__", "forward"} & members.keys() - thing.members.keys():
                thing.set_member(name, griffe.Alias(name, members[name], parent=thing))


def _is_record(thing):
    return "NamedTuple" in map(str, thing.bases)


def _meanings(module):
    """The names of a module that stand for something else than what Griffe takes them for."""
    for name, member in module.members.items():
        if member.is_alias:
            continue
        if member.is_module and module.imports.get(name) == f"{member.path}.{name}":
            yield module, name, member[name]  # the function, not the file of the same name
        if member.is_function:
            for decorator in member.decorators:
                if decorator.callable_path == "functools.wraps":
                    yield module, name, module[str(decorator.value.arguments[0])]


def markdown(text, thing):
    """The docstring of ``thing`` as Markdown."""

    def replace(found):
        if found["name"]:
            path = _path(found["name"], thing)
            code = f"`{found['name']}`"
            return f'<autoref identifier="{path}" optional>{code}</autoref>' if path else code
        code = textwrap.dedent(found["code"]).strip("\n")
        kind = "python" if _parses(code) else "text"
        return f"{'' if found['alone'] is not None else ':'}\n\n```{kind}\n{code}\n```\n\n"

    return MARKUP.sub(replace, text)


def _path(name, thing):
    """Where ``name`` leads from the docstring of ``thing``, if it is a name of minae."""
    first, _, rest = name.partition(".")
    callers = [thing, thing.members.get("__init__")] if thing.is_class else [thing]
    if any(c is not None and c.is_function and first in c.parameters for c in callers):
        return None
    try:
        path = "minae" if first == "minae" else thing.resolve(first)
    except griffe.NameResolutionError:
        return None
    path = f"{path}.{rest}" if rest else path
    return path if path.startswith("minae.") and path != thing.path else None


def _parses(code):
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True
