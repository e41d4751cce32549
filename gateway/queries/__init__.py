"""Reading the read models: from stored views to the resources of the API, always within one organisation."""
