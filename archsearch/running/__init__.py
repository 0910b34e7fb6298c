"""One search: asked, evaluated, recorded, told, stopped, and taken up again."""
