"""`synthkd schema`."""

import click


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of pipeline files, for editors that complete them.

    \b
    Example:
      synthkd schema > pipeline.schema.json
    """
    from synthkd.cli.terminal import print_json
    from synthkd.pipeline import Pipeline

    schema = Pipeline.model_json_schema()
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
