"""The promises of every vector store, a module for each subject; `store_contract` combines them.

A class lists, as annotations without a value, what its tests ask of the declarations there.
"""
