"""What every vector store promises, a subject to a module; `store_contract` puts them together.

A class lists, as annotations without a value, what its tests ask of the declarations there.
"""
