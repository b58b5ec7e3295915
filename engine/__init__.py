"""Graft's engine: everything that is not a web page. It never imports streamlit or pages."""
