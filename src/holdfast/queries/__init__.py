"""Own the one query tree, its meaning and its notations; it never looks at a database.

>>> from holdfast.queries import Key, parse
>>> parse('n > 5') == (Key("n") > 5)
True
"""

from holdfast.queries.codec import from_json, to_json
from holdfast.queries.fields import Field, field_of
from holdfast.queries.keys import Key
from holdfast.queries.keywords import from_keywords
from holdfast.queries.language import parse
from holdfast.queries.leaves import Comparison, Contains, Eq, In, KeyPresent, Like, NotEq, NotIn, Regex
from holdfast.queries.mongo import from_mongo
from holdfast.queries.tiled import FILTERS, from_filters, to_filters
from holdfast.queries.tree import And, Everything, Not, Or, Query, SearchFunction, Subject
from holdfast.queries.whole import FullText, KeyLookup, KeysFilter, SpecsQuery, StructureFamilyQuery
from holdfast.queries.words import words

__all__ = [
    "Key",
    "Field",
    "field_of",
    "Query",
    "Subject",
    "SearchFunction",
    "And",
    "Or",
    "Not",
    "Everything",
    "Eq",
    "NotEq",
    "Comparison",
    "In",
    "NotIn",
    "Contains",
    "Like",
    "Regex",
    "KeyPresent",
    "FullText",
    "SpecsQuery",
    "StructureFamilyQuery",
    "KeysFilter",
    "KeyLookup",
    "from_keywords",
    "from_mongo",
    "from_json",
    "to_json",
    "FILTERS",
    "from_filters",
    "to_filters",
    "parse",
    "words",
]
